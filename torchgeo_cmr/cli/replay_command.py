"""The command replay: a search made again from its manifest."""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

from torchgeo_cmr.cli.options import FileOptions
from torchgeo_cmr.cli.terminal import printable


def replay(manifest: str, *, output: FileOptions, quiet: bool = False) -> None:
    """Repeat a search and report whether it gives the same rows.

    Run it in the folder where the search was made, since its paths may be relative:

        torchgeo-cmr replay hits.json

    Prints what changed since, one line each: the archive, the queries, the weights, the
    filters, versions, and the first row that differs. The exit code is 0 if the rows have
    the same query, rank, patch and score, and 1 if not.

    Args:
        manifest: The .json that search wrote next to its result.
        quiet: Show no progress bar while rasters are embedded.
    """
    from torchgeo_cmr.cli.options import ResultOptions
    from torchgeo_cmr.cli.parser import build
    from torchgeo_cmr.cli.search_command import search
    from torchgeo_cmr.cli.signature import gather
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import (
        compare_records,
        read_manifest,
        read_search,
        write_all,
    )

    output.check()
    old = read_manifest(manifest)
    command = old.get('command') or []
    if command[:2] != ['torchgeo-cmr', 'search']:
        raise QueryError(
            f'{manifest} was not made by torchgeo-cmr search, so it names no command to '
            'replay; make the search again as you made it'
        )
    if 'rows' not in old:
        raise QueryError(f'{manifest} does not say which rows were found; search again')
    parser = build(search, f'torchgeo-cmr replay: the search in {manifest}')
    values = vars(parser.parse_args(command[2:]))
    with tempfile.TemporaryDirectory(prefix='torchgeo_cmr-') as folder:
        again = Path(folder) / 'rows.gpkg'
        values |= vars(ResultOptions(out=[str(again)])) | {
            'explain': False,
            'quiet': quiet,
        }
        # Earlier searches also found the query patch itself.
        values['include_self'] |= 'excluded' not in old
        positional, options = gather(search, values)
        # The lines search prints about its files are of no use: those are temporary.
        with contextlib.redirect_stdout(io.StringIO()):
            search(*positional, **options)
        results, queries, area, new = read_search(again)
        # The arguments of the first search apply to both.
        new['command'] = command
    same, changes = compare_records(old, new)
    for path, summary in write_all(
        results,
        output.files,
        queries=queries,
        area=area,
        record=new,
        **output.written(),
    ):
        sys.stdout.write(f'{path}: {summary}\n')
    rows = new['rows']['count']
    sys.stdout.write(f'the same {rows} rows\n' if same else 'other rows\n')
    sys.stdout.writelines(f'{printable(change)}\n' for change in changes)
    if not same:
        raise SystemExit(1)
