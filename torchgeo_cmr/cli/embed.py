"""The verb embed: arguments only."""


def embed(
    scenes: list[str],
    *,
    ckpt: str,
    out: str,
    modality: list[str] | None = None,
    split: list[str] | None = None,
    fusion: str = 'concat',
    raw: bool = False,
    size: int | None = None,
    stride: int | None = None,
    batch_size: int = 64,
    min_valid: float = 0.5,
    root: str | None = None,
    dataset: str | None = None,
    task: str | None = None,
    device: str = 'auto',
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Turn rasters into an archive: one vector and one exact footprint a patch.

    Each scene is read in its own CRS, on its own grid and at its own date. Stop the command
    at any time; the same command goes on where it stopped.

    Plain GeoTIFFs with all bands in one file need no more than their paths:
    torchgeo-cmr embed scenes/*.tif --ckpt best.ckpt --modality s2 --out archive

    Products with a file for each band, or with the date in the file name, are opened by the
    TorchGeo dataset that knows their names:
    torchgeo-cmr embed products --dataset torchgeo.datasets.Sentinel2 --ckpt best.ckpt
    --modality s2 --out archive

    The pairs of a benchmark, or of paired scenes, come from the YAML of the training run;
    all splits and sensors go into one archive, with the columns split, pair and label:
    torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --out archive

    Likewise, but one row a place, fused from both sensors:
    torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --modality s1+s2
    --fusion mean --out fused

    Args:
        scenes: Raster files, folders or patterns (in quotes, if they match very many); or
            one YAML file of a training run, of which only the section data is read.
        ckpt: Checkpoint of a trained task; it knows its bands, statistics and patch size.
        out: Archive folder to write or to complete.
        modality: Which sensor the scenes are from, by the name used in training, such as s2.
            Of a YAML it may be repeated, or be several joined with +, such as s1+s2, for one
            row a place; without it, every sensor by itself.
        split: Of a YAML: train, val or test; may be repeated. Without it, all there are.
        fusion: How a row such as s1+s2 is made: concat, mean, sum or max.
        raw: Of a YAML: fuse features before any scaling, and keep their length in the column
            length, for evaluate --features length.
        size: Patch width in pixels of each scene's own grid; without it, the width that the
            checkpoint was trained with.
        stride: Step between patches in pixels; without it patches lie side by side.
        batch_size: Patches given to the encoder at once; fewer need less memory.
        min_valid: Share of valid pixels that a patch must hold, 0 to 1; the others are left
            out and counted.
        root: Folder to which scene names in the archive are relative; without it, the
            deepest folder that holds every file.
        dataset: Python path of a TorchGeo raster dataset to open the scenes with, such as
            torchgeo.datasets.Sentinel2.
        task: Python path of the task's class, if it is not one of torchgeo_cmr.
        device: Where to run, such as cpu, cuda or cuda:1; auto takes the fastest present.
        overwrite: Replace an archive that is there instead of completing it.
        quiet: Show no progress bar.
    """
    from torchgeo_cmr.embed import embed as embed_
    from torchgeo_cmr.embed import embed_pairs, open_data, open_dataset
    from torchgeo_cmr.errors import QueryError, RasterError
    from torchgeo_cmr.tasks import load_task

    if scenes[0].endswith(('.yaml', '.yml')):
        _check(scenes, 'scenes', size=size, stride=stride, root=root, dataset=dataset)
        embed_pairs(
            load_task(ckpt, task),
            open_data(scenes[0]),
            modality,
            splits=split,
            fusion=fusion,  # ty: ignore[invalid-argument-type]
            raw=raw,
            out=out,
            batch_size=batch_size,
            min_valid=min_valid,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
        )
        return
    _check([], 'pairs', split=split, raw=raw or None)
    model = load_task(ckpt, task)
    if modality is None or len(modality) != 1:
        raise QueryError(
            f'scenes are of one sensor: give one --modality of {", ".join(model.keys)}'
        )
    (sensor,) = modality
    spec = model.specs.get(sensor, {})
    if size is None:
        size = spec.get('patch_size')
    if size is None and sensor in model.keys:
        raise RasterError(f'{ckpt} does not say how wide its patches were: give --size')
    embed_(
        model,
        scenes if dataset is None else open_dataset(dataset, scenes, spec.get('bands')),
        sensor,
        1 if size is None else size,
        stride,
        out=out,
        root=root,
        batch_size=batch_size,
        min_valid=min_valid,
        device=device,
        overwrite=overwrite,
        progress=not quiet,
    )


def _check(configs: list[str], kind: str, **options: object) -> None:
    """Refuse what has no meaning for what is embedded."""
    from torchgeo_cmr.errors import QueryError

    if len(configs) > 1:
        raise QueryError(
            f'a YAML is embedded alone, found {len(configs)} words: give one'
        )
    given = [f'--{name}' for name, value in options.items() if value is not None]
    if given:
        raise QueryError(
            f'{", ".join(given)} is only for {kind}: leave it out, or give '
            f'{"a YAML" if kind == "pairs" else "rasters"}'
        )
