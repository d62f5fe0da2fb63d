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
    size_metres: float | None = None,
    stride: int | None = None,
    overlap: float = 0.0,
    edges: str = 'drop',
    gsd: str = 'warn',
    batch_size: str = '64',
    min_valid: float = 0.5,
    max_cloud: float = 100.0,
    units: str | None = None,
    nodata: float | None = None,
    root: str | None = None,
    dataset: str | None = None,
    task: str | None = None,
    device: str = 'auto',
    precision: str = 'auto',
    flips: bool = False,
    compile: bool = False,
    engine: str = 'torch',
    update: bool = False,
    prune: bool = False,
    errors: str = 'refuse',
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Turn rasters into an archive: one vector and one exact footprint a patch.

    Each scene is read in its own CRS, on its own grid and at its own date. Stop the command
    at any time; the same command goes on where it stopped.

    Rasters need no more than their paths. Sentinel-1, Sentinel-2 (also .SAFE folders), Landsat
    and NAIP are known by their file names, with dates, one file for each band, and the cloud
    masks SCL and QA_PIXEL; so are files that differ only in a band at the end of their names:
    torchgeo-cmr embed scenes/*.tif --ckpt best.ckpt --modality s2 --out archive

    Cubes (.nc, .zarr) give one scene a date. A list of STAC items (.json, .parquet) names
    local files with their dates and bands:
    torchgeo-cmr embed cube.nc items.json --ckpt best.ckpt --modality s2 --out archive

    Patches can be as wide on the ground as those of the training though the pixels are not:
    torchgeo-cmr embed landsat --ckpt best.ckpt --modality ms --size-metres 1920 --overlap 0.5
    --gsd ignore --edges pad --max-cloud 20 --out archive

    A folder that grows: only new scenes and those whose files changed are embedded, and what
    is gone is dropped:
    torchgeo-cmr embed scenes --ckpt best.ckpt --modality s2 --out archive --update --prune

    What was done with each scene is written beside the archive, as archive-report.json; if
    scenes had to be refused, the exit code is 1.

    Names that are not known are opened by a TorchGeo dataset:
    torchgeo-cmr embed products --dataset torchgeo.datasets.Sentinel2 --ckpt best.ckpt
    --modality s2 --out archive

    The pairs of a benchmark, or of paired scenes, come from the YAML of the training run;
    all splits and sensors go into one archive, with the columns split, pair and label:
    torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --out archive

    Likewise, but one row a place, fused from both sensors:
    torchgeo-cmr embed examples/03_bigearthnet.yaml --ckpt best.ckpt --modality s1+s2
    --fusion mean --out fused

    Sound, and images that nothing says the place of, give one row a file and no footprint:
    torchgeo-cmr embed speech --ckpt best.ckpt --out spoken

    Args:
        scenes: Rasters, products, cubes (.nc, .zarr), lists of STAC items (.json, .parquet),
            WAV files, plain images, folders or patterns of them (patterns in quotes, if they
            match very many); or one YAML file of a training run, of which only the section
            data is read.
        ckpt: Checkpoint of a trained task; it knows its bands, statistics and patch size.
        out: Archive folder to write or to complete.
        modality: Which sensor the scenes are from, by the name used in training, such as s2.
            Sound and plain images need none if one encoder alone can take them. Of a YAML it may be repeated, or be several joined with +, such as s1+s2, for one
            row a place; without it, every sensor by itself.
        split: Of a YAML: train, val or test; may be repeated. Without it, all there are.
        fusion: How a row such as s1+s2 is made: concat, mean, sum or max.
        raw: Of a YAML: fuse features before any scaling, and keep their length in the column
            length, for evaluate --features length.
        size: Patch width in pixels of each scene's own grid; without it, the width that the
            checkpoint was trained with.
        size_metres: Patch width in metres, in place of size; each scene has the nearest whole
            number of its pixels.
        stride: Step between patches in pixels; without it patches lie side by side.
        overlap: Share of a patch that the next one shows again, 0 to below 1, in place of
            stride; 0.5 for every place twice along each axis.
        edges: What happens at the right and lower edge and to scenes smaller than a patch:
            drop, or pad with missing pixels (give a low min-valid to keep those patches).
        gsd: What happens to scenes whose pixels are more than a tenth wider or narrower than
            those of the training: warn, resample (bilinear) to the training's, error, ignore.
        batch_size: Patches given to the encoder at once; fewer need less memory. Of scenes also
            auto, which finds the smallest number about as fast as any larger one; the archive
            keeps it for the runs that complete it.
        min_valid: Share of valid pixels that a patch must hold, 0 to 1; the others are left
            out and counted.
        max_cloud: Percentage of the valid pixels that may be cloud, 0 to 100, where a mask SCL
            or QA_PIXEL tells; patches with more are left out and counted.
        units: What radar pixels are where files do not say it: db, power or amplitude. They
            are converted to what the training had.
        nodata: Value that marks missing pixels, besides those that files state.
        root: Folder to which scene names in the archive are relative; without it, the
            deepest folder that holds every file.
        dataset: Python path of a TorchGeo raster dataset to open the scenes with, such as
            torchgeo.datasets.Sentinel2.
        task: Python path of the task's class, if it is not one of torchgeo_cmr.
        device: Where to run, such as cpu, cuda or cuda:1; auto takes the fastest present.
        precision: Of scenes: what the encoder computes with, 32, bf16 or 16; auto takes what
            the archive was begun with, else what is fastest on the device.
        flips: Of scenes: give each patch the mean of the vectors of its four flips, which takes
            four times as long.
        compile: Of scenes: compile the encoder first, which pays for many scenes.
        engine: Of scenes: torch, or onnx to run the encoder with ONNX Runtime on the CPU, which
            starts slowly and pays for many scenes.
        update: Of scenes: complete an archive whose scenes are no longer those it was begun
            with; scenes whose files changed are embedded again.
        prune: With --update, drop the rows of scenes that are no longer there.
        errors: Of scenes: refuse leaves broken ones out and tells of them at the end; raise
            stops at the first.
        overwrite: Replace an archive that is there instead of completing it.
        quiet: Show no progress bar.
    """
    from torchgeo_cmr.embed import embed as embed_
    from torchgeo_cmr.embed import (
        embed_images,
        embed_pairs,
        embed_sounds,
        kind_of,
        open_data,
        open_dataset,
        read_report,
    )
    from torchgeo_cmr.errors import QueryError, RasterError
    from torchgeo_cmr.tasks import load_task

    if scenes[0].endswith(('.yaml', '.yml')):
        _check(
            scenes,
            'scenes',
            size=size,
            size_metres=size_metres,
            stride=stride,
            units=units,
            nodata=nodata,
            root=root,
            dataset=dataset,
            precision=None if precision == 'auto' else precision,
            flips=flips or None,
            compile=compile or None,
            engine=None if engine == 'torch' else engine,
            update=update or None,
        )
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
        return 0
    _check([], 'pairs', split=split, raw=raw or None)
    model = load_task(ckpt, task)
    modality = modality or []
    if len(modality) > 1:
        raise QueryError(
            f'scenes are of one sensor: give one --modality of {", ".join(model.keys)}'
        )
    kind = 'raster' if dataset is not None else kind_of(scenes)
    if kind != 'raster':
        options = {'size': size} if kind == 'image' else {}
        (embed_images if kind == 'image' else embed_sounds)(
            model,
            scenes,
            modality[0] if modality else None,
            out=out,
            root=root,
            batch_size=batch_size,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
            **options,
        )
        return 0
    if not modality:
        raise QueryError(
            f'scenes are of one sensor: give one --modality of {", ".join(model.keys)}'
        )
    (sensor,) = modality
    spec = model.specs.get(sensor, {})
    if size is None and size_metres is None:
        size = spec.get('patch_size')
        if size is None and sensor in model.keys:
            raise RasterError(
                f'{ckpt} does not say how wide its patches were: give --size'
            )
        size = 1 if size is None else size
    embed_(
        model,
        scenes if dataset is None else open_dataset(dataset, scenes, spec.get('bands')),
        sensor,
        size,
        stride,
        size_metres=size_metres,
        overlap=overlap,
        edges=edges,  # ty: ignore[invalid-argument-type]
        gsd=gsd,  # ty: ignore[invalid-argument-type]
        units=units,
        max_cloud=max_cloud,
        nodata=nodata,
        out=out,
        root=root,
        batch_size=batch_size,  # ty: ignore[invalid-argument-type]
        min_valid=min_valid,
        device=device,
        precision=precision,  # ty: ignore[invalid-argument-type]
        flips=flips,
        compile=compile,
        engine=engine,  # ty: ignore[invalid-argument-type]
        update=update,
        prune=prune,
        errors=errors,  # ty: ignore[invalid-argument-type]
        overwrite=overwrite,
        progress=not quiet,
    )
    return 1 if read_report(out)['refused'] else 0


def _check(configs: list[str], kind: str, **options: object) -> None:
    """Refuse what has no meaning for what is embedded."""
    from torchgeo_cmr.errors import QueryError

    if len(configs) > 1:
        raise QueryError(
            f'a YAML is embedded alone, found {len(configs)} words: give one'
        )
    given = [
        f'--{name.replace("_", "-")}'
        for name, value in options.items()
        if value is not None
    ]
    if given:
        raise QueryError(
            f'{", ".join(given)} is only for {kind}: leave it out, or give '
            f'{"a YAML" if kind == "pairs" else "rasters"}'
        )
