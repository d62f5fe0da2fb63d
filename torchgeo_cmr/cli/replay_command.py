"""The verb replay: a search made again from its manifest."""

import contextlib
import io
import sys
import tempfile
from pathlib import Path


def replay(
    manifest: str,
    *,
    out: list[str] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Repeat a search and report whether it gives the same rows.

    Run it in the folder where the search was made, since its paths may be relative:
    torchgeo-cmr replay hits.json

    Prints what changed since, one line each: the archive, the queries, the weights, the
    filters, versions, and the first row that differs. The exit code is 0 if the rows have
    the same query, rank, patch and score, and 1 if not.

    Args:
        manifest: The .json that search wrote next to its result.
        out: File for the rows found now; may be repeated. The suffix names the format,
            as for search.
        overwrite: Replace existing files.
        quiet: Show no progress bar while rasters are embedded.
    """
    from torchgeo_cmr.cli.parser import build
    from torchgeo_cmr.cli.search_command import search
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import (
        check_all,
        compare_records,
        read_manifest,
        read_search,
        write_all,
    )

    check_all(out or [], overwrite=overwrite)
    old = read_manifest(manifest)
    command = old.get('command') or []
    if command[:2] != ['torchgeo-cmr', 'search']:
        raise QueryError(
            f'{manifest} was not made by torchgeo-cmr search, so it names no command to '
            'replay; make the search again as you made it'
        )
    parser = build(search, f'torchgeo-cmr replay: the search in {manifest}')
    options = vars(parser.parse_args(command[2:]))
    archives = options.pop('archives')
    with tempfile.TemporaryDirectory(prefix='torchgeo_cmr-') as folder:
        again = Path(folder) / 'rows.gpkg'
        options |= {
            'out': [str(again)],
            'project': False,
            'heatmap': False,
            'html': False,
            'clips': None,
            'links': False,
            'explain': False,
            'quiet': quiet,
        }
        # Earlier searches also found the query patch itself.
        options['include_self'] |= 'excluded' not in old
        # The lines search prints about its files are of no use: those are temporary.
        with contextlib.redirect_stdout(io.StringIO()):
            search(archives, **options)
        results, queries, area, new = read_search(again)
        # The arguments of the first search apply to both.
        new['command'] = command
    same, changes = compare_records(old, new)
    for path, summary in write_all(
        results, out or [], queries=queries, area=area, record=new, overwrite=overwrite
    ):
        sys.stdout.write(f'{path}: {summary}\n')
    rows = new['rows']['count']
    sys.stdout.write(f'the same {rows} rows\n' if same else 'other rows\n')
    sys.stdout.writelines(f'{change}\n' for change in changes)
    if not same:
        raise SystemExit(1)
