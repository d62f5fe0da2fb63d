"""What is said on stderr while a command runs: our notes, those of GDAL, warnings."""

import logging
import os
import sys
import warnings
from functools import partial

from torchgeo_cmr.cli.option_names import as_options
from torchgeo_cmr.cli.terminal import printable, printable_lines

#: Loggers of packages that say what GDAL does.
_GDAL = ('rasterio', 'pyogrio')


class _Plain(logging.Formatter):
    """Notes quote names of files and archives."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


class _Stderr(logging.StreamHandler):
    """Writes to what stderr is then, which a program that calls commands may exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def talk_on_stderr(command: str, *, verbose: bool = False) -> None:
    """Show our own notes, and warnings as plain lines.

    Args:
        command: The command that runs, whose options warnings name.
        verbose: Show what is done in detail, and what GDAL says, with the time and who says it.
    """
    handler = _Stderr()
    style = '%(asctime)s %(name)s: %(message)s' if verbose else '%(message)s'
    handler.setFormatter(_Plain(style, '%H:%M:%S'))
    logger = logging.getLogger('torchgeo_cmr')
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.handlers = [handler]
    if verbose:
        # Read by GDAL when it is loaded; rasterio passes on what it then says.
        os.environ.setdefault('CPL_DEBUG', 'ON')
        for name in _GDAL:
            other = logging.getLogger(name)
            other.setLevel(logging.DEBUG)
            other.handlers = [handler]
    warnings.showwarning = partial(_show, command)
    # Not for us to fix: Lightning uses a class of torch that torch means to rename.
    warnings.filterwarnings('ignore', message=r'`isinstance\(treespec, LeafSpec\)`')
    # The words are those of the process, handed on.
    warnings.filterwarnings('ignore', message="LightningCLI's args parameter")


def _show(command: str, message: Warning | str, *_: object, **__: object) -> None:
    text = as_options(' '.join(str(message).split()), command)
    sys.stderr.write(f'warning: {printable(text)}\n')
