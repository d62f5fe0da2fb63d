"""The command serve: archives as tools of a language model."""


def serve(
    archives: list[str],
    *,
    mcp: bool = False,
    max_k: int = 100,
    max_answer: int = 100_000,
) -> None:
    """Let a language model describe and search archives, and do nothing else.

    The program waits on standard input for a client of the Model Context Protocol, which starts it,
    and answers on standard output. It has two tools: describe_archive and search_archive, which
    takes an area, dates, a condition and a patch to look for, and gives GeoJSON. Nothing is
    written, and no argument of a tool names a file: what is named here is all that can be read.

        torchgeo-cmr serve --mcp archive

    Archives are known by the name of their folder, or by a name that you give:

        torchgeo-cmr serve --mcp radar=runs/s1 optical=runs/s2

    Install with pip install "torchgeo-cmr[mcp]". A desktop client starts it by an entry such as

        {"mcpServers": {"archives": {"command": "/path/to/bin/torchgeo-cmr",
            "args": ["serve", "--mcp", "/path/to/archive"]}}}

    Args:
        archives: Archive folders or index folders; NAME=FOLDER for another name; a database is
            NAME=postgresql://USER@HOST/DATABASE.
        mcp: Speak the Model Context Protocol; required, as there is no other.
        max_k: Most hits of a search.
        max_answer: Most characters of an answer.
    """
    import logging
    import signal

    from torchgeo_cmr.errors import QueryError

    if not mcp:
        raise QueryError('say what to speak: add --mcp, the Model Context Protocol')
    for option, value in (('--max-k', max_k), ('--max-answer', max_answer)):
        if value < 1:
            raise QueryError(f'{option} {value} lets nothing through; give 1 or more')
    from torchgeo_cmr.serve.archive_tools import ArchiveTools
    from torchgeo_cmr.serve.mcp_server import serve_stdio
    from torchgeo_cmr.serve.served_archive import open_served

    tools = ArchiveTools(open_served(archives), max_k, max_answer)
    logging.getLogger(__name__).info(
        'serving %s: waiting for a client on standard input', ', '.join(tools.archives)
    )
    # A thread that waits for a line of input would keep an interrupted process; nothing is to be saved.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve_stdio(tools)
