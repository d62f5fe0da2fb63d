"""The command demo: arguments and what it prints."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgeo_cmr.demo import Journey


def demo(
    *,
    out: str = 'demo',
    seed: int = 0,
    raster: list[str] | None = None,
    units: list[str] | None = None,
    model: str | None = None,
    bands: list[str] | None = None,
    normalize: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Run every step on one example: train, embed, search, score.

    Without arguments it writes a synthetic landscape, trains SS-CM-RSIR with preset 'best' on
    it for 210 steps, embeds the optical scenes, searches them with radar patches inside a polygon
    and a time window, and scores both directions on places that training never saw. It takes about
    two minutes on two cores, and twice that where the processor has no AMX.

    With two --raster options the same runs on your own files:

        torchgeo-cmr demo --raster s1='S1/*.tif' --raster s2='S2/*.tif' --out trial

    With --model a frozen model embeds in place of a trained one, and nothing is trained: the
    same files, with scores of its vectors as they are and centred for each sensor. Large models
    take long on a CPU, presto about a minute:

        torchgeo-cmr demo --model presto:presto_default_model.pt --out frozen

    Args:
        out: Folder for everything that is written.
        seed: Seed of the world, the splits, the weights and the draws.
        raster: NAME=FILES of one modality (give it twice); the first is the query, the second
            the archive. FILES is a path, a folder or a quoted pattern.
        units: NAME=UNIT where radar files do not state their scale; UNIT is db, power,
            amplitude or dn.
        model: MODEL or MODEL:WEIGHTS, as in embed: embed with it as it is, without training.
            Without WEIGHTS they are random.
        bands: NAME=BANDS of one modality with --model (may be repeated), such as
            s2=B04,B03,B02; without it what the model takes of Sentinel-1 and Sentinel-2.
        normalize: With --model: weights for pixels in the units that the model was trained with,
            or data for pixels of any kind, by their own mean and deviation.
        overwrite: Replace what an earlier run left in the folder.
        quiet: Show no progress bars, only a line for each step that begins.
    """
    import logging
    import time

    from torchgeo_cmr.drafts import check_free
    from torchgeo_cmr.errors import LARGEST_SEED, QueryError, check_seed

    begin = time.monotonic()
    if model is None and (bands or normalize):
        raise QueryError(
            '--bands and --normalize are for --model: give it, or drop them'
        )
    # Before torch is loaded, which takes seconds.
    check_seed(seed, QueryError, most=LARGEST_SEED)
    if not overwrite:
        check_free(out)
    names = _pairs(bands or [], '--bands')
    rasters = None if raster is None else _pairs(raster, '--raster')
    scales = _pairs(units or [], '--units')
    _say_that_it_loads(raster, units, model, bands, normalize)
    from torchgeo_cmr.demo import run

    # Lightning's notes on hardware and services are not about the demo.
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    journey = run(
        out,
        seed=seed,
        rasters=rasters,
        units=scales,
        model=model,
        bands={m: [b.strip() for b in each.split(',')] for m, each in names.items()},
        normalize=normalize or 'weights',  # ty: ignore[invalid-argument-type]
        overwrite=overwrite,
        progress=not quiet,
    )
    sys.stdout.write(_report(journey, _time_taken(begin)))


def _report(journey: 'Journey', taken: str) -> str:
    """Write the scores as a table, then what each file is for."""
    directions = journey.metrics['directions']
    # What was embedded first, then what it is compared with, chance at the end.
    who: list[str] = sorted(next(iter(directions.values())), key='chance'.__eq__)
    uses = {
        'hits': 'drag into QGIS: ranked footprints',
        'queries': 'drag into QGIS: the query places',
        'area': 'drag into QGIS: the polygon that was searched',
        'contact_sheet': 'open as a picture: each query next to its hits',
        'metrics': f'scores in all directions, for {", ".join(who[:-1])} and chance',
        'archive': 'GeoParquet: geopandas.read_parquet, or torchgeo-cmr search',
        'checkpoint': 'torchgeo-cmr embed --ckpt, or torchgeo_cmr.tasks.load_task',
    }
    lines = [f'{"":<10} ' + ' '.join(f'{name:>17}' for name in who)]
    lines.append(f'{"":<10}' + ' recall@10    map ' * 3)
    for name, scores in directions.items():
        numbers = [
            f'{_number(scores[w]["recall@10"]):>10} {_number(scores[w]["map"]):>6}'
            for w in who
        ]
        lines.append(f'{name:<10} ' + ' '.join(numbers))
    lines += ['', taken, '']
    lines += [f'note: {note}' for note in journey.notes]
    lines += [f'{journey.files[name]}: {how}' for name, how in uses.items()]
    return '\n'.join(lines) + '\n'


def _time_taken(begin: float) -> str:
    import time

    minutes = f'{(time.monotonic() - begin) / 60:.1f} minutes'
    return f'{minutes}, {time.process_time():.0f} seconds of processor time'


def _say_that_it_loads(*given: object) -> None:
    """Say what is done first, for loading takes seconds; not where a mistake may be named yet."""
    import logging
    from importlib.util import find_spec

    if not any(given) and find_spec('torch'):
        logging.getLogger('torchgeo_cmr.demo').info('loading torch and TorchGeo')


def _number(value: float | None) -> str:
    return 'null' if value is None else f'{value:.3f}'


def _pairs(words: list[str], flag: str) -> dict[str, str]:
    from torchgeo_cmr.errors import QueryError

    pairs = {}
    for word in words:
        name, sign, value = word.partition('=')
        if not (name and sign and value):
            raise QueryError(
                f'{flag} {word!r} is not NAME=VALUE: write for example s1=VALUE'
            )
        if name in pairs:
            raise QueryError(f'{flag} names {name!r} twice: give each modality once')
        pairs[name] = value
    return pairs
