"""The console script: picks a verb and imports only that verb.

A user's mistake is one line on stderr and exit code 2; results go to files or stdout,
progress to stderr.
"""

import importlib
import logging
import sys
from collections.abc import Sequence

from torchgeo_cmr import __version__
from torchgeo_cmr.errors import CMRError

#: Verb -> (module, what it does).
VERBS = {
    'demo': ('demo', 'train, embed and search on a synthetic world or on your rasters'),
    'fit': ('fit', 'train a task from YAML or flags (LightningCLI)'),
    'validate': ('fit', 'run the validation of a trained task'),
    'test': ('fit', 'run the test of a trained task'),
    'predict': ('fit', 'embed with the trainer'),
    'embed': ('embed', 'turn rasters into an archive of vectors and footprints'),
    'search': ('search', 'ask an archive, inside an area and a time window'),
    'export': ('export', 'turn an archive or a result into a layer'),
}

_USAGE = """usage: torchgeo-cmr VERB ...

Cross-modal retrieval of georeferenced imagery.

{verbs}

`torchgeo-cmr VERB --help` explains a verb; `torchgeo-cmr demo` shows the whole journey.
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: Words after the program's name (default: those of the process).

    Returns:
        Exit code: 0 done, 2 for a mistake that the user can mend, 130 if interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)
    verb = words[0] if words else '--help'
    if verb in ('-h', '--help'):
        lines = [f'  {name:<9} {told}' for name, (_, told) in VERBS.items()]
        sys.stdout.write(_USAGE.format(verbs='\n'.join(lines)))
        return 0
    if verb == '--version':
        sys.stdout.write(f'torchgeo-cmr {__version__}\n')
        return 0
    if verb not in VERBS:
        return _mistake(f'{verb!r} is no verb: choose one of {", ".join(VERBS)}')
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    module = importlib.import_module(f'torchgeo_cmr.cli.{VERBS[verb][0]}')
    try:
        if module.__name__.endswith('.fit'):
            module.fit(words)
        else:
            from torchgeo_cmr.cli.parser import call

            call(getattr(module, verb), words[1:], prog=f'torchgeo-cmr {verb}')
    except (CMRError, OSError) as error:
        # OSError: a file is missing, the disk is full. Both are the user's to mend.
        return _mistake(str(error))
    except KeyboardInterrupt:
        sys.stderr.write('stopped; what was committed is kept\n')
        return 130
    return 0


def _mistake(message: str) -> int:
    sys.stderr.write(f'torchgeo-cmr: {" ".join(message.split())}\n')
    return 2


if __name__ == '__main__':
    sys.exit(main())
