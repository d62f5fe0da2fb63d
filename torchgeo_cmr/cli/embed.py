"""The verb embed: arguments only."""


def embed(
    scenes: list[str],
    *,
    ckpt: str,
    out: str,
    modality: str | None = None,
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

    Sound, and images that nothing says the place of, give one row a file and no footprint:
    torchgeo-cmr embed speech --ckpt best.ckpt --out spoken

    Args:
        scenes: Raster files, folders or patterns (in quotes, if they match very many); or
            WAV files, or plain images.
        ckpt: Checkpoint of a trained task; it knows its bands, statistics and patch size.
        out: Archive folder to write or to complete.
        modality: Which sensor the scenes are from, by the name used in training, such as s2;
            sound and plain images need none if one encoder alone can take them.
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
    from torchgeo_cmr.embed import embed_images, embed_sounds, kind_of, open_dataset
    from torchgeo_cmr.errors import RasterError
    from torchgeo_cmr.tasks import load_task

    model = load_task(ckpt, task)
    kind = 'raster' if dataset is not None else kind_of(scenes)
    if kind != 'raster':
        options = {'size': size} if kind == 'image' else {}
        (embed_images if kind == 'image' else embed_sounds)(
            model,
            scenes,
            modality,
            out=out,
            root=root,
            batch_size=batch_size,
            device=device,
            overwrite=overwrite,
            progress=not quiet,
            **options,
        )
        return
    if modality is None:
        raise RasterError(
            f'say which sensor the scenes are from with --modality, one of '
            f'{", ".join(model.keys)}'
        )
    spec = model.specs.get(modality, {})
    if size is None:
        size = spec.get('patch_size')
    if size is None and modality in model.keys:
        raise RasterError(f'{ckpt} does not say how wide its patches were: give --size')
    embed_(
        model,
        scenes if dataset is None else open_dataset(dataset, scenes, spec.get('bands')),
        modality,
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
