"""The table of commands."""

import importlib
from collections.abc import Callable

#: Command -> (module, what it does).
VERBS = {
    'demo': (
        'demo_command',
        'train, embed and search on a synthetic world or on your rasters',
    ),
    'fit': ('fit_command', 'train a task from YAML or flags (LightningCLI)'),
    'validate': ('fit_command', 'run the validation of a trained task'),
    'test': ('fit_command', 'run the test of a trained task'),
    'predict': ('fit_command', 'embed with the trainer'),
    'embed': (
        'embed_command',
        'turn rasters into an archive of vectors and footprints',
    ),
    'search': ('search_command', 'search an archive, inside an area and a time window'),
    'index': ('index_command', 'build an index of an archive once, or change one'),
    'pixels': (
        'pixels_command',
        'compare pixels that are vectors with examples, or make patches of them',
    ),
    'load': ('load_command', 'load an archive into PostgreSQL, for many to search'),
    'plan': (
        'plan_command',
        'say what an archive of some size takes, before it is made',
    ),
    'fuse': ('fuse_command', 'combine several saved results'),
    'changes': ('changes_command', 'find the places of an archive that changed most'),
    'duplicates': (
        'duplicates_command',
        'find patches of an archive that look the same',
    ),
    'align': ('align_command', 'bring archives of two sensors into one space'),
    'hash': ('hash_command', 'turn the vectors of an archive into packed codes'),
    'info': ('info_command', 'describe an archive, an index, a checkpoint or a layer'),
    'check': (
        'check_command',
        'list what is damaged in an archive, index, checkpoint or saved search',
    ),
    'evaluate': ('evaluate_command', 'score how well one archive answers another'),
    'export': ('export_command', 'turn an archive or a result into a layer'),
    'replay': ('replay_command', 'repeat a search and report what changed'),
    'serve': ('serve_command', 'let a language model search archives, as its tools'),
    'qgis-plugin': ('qgis_plugin_command', 'make the plugin for QGIS, or install it'),
    'speak': ('speak_command', 'make a corpus of spoken labels'),
    'doctor': ('doctor_command', 'say whether this installation works, and the cure'),
    'completion': ('completion_command', 'print a completion script for a shell'),
}


#: Words that any command takes, wherever they stand, and what they do.
GLOBAL = {
    '--quiet': 'draw no progress bars; what is done is still written',
    '--progress': 'draw them also where stderr is not a terminal',
    '-v': 'say more, with the time: what we do and what GDAL does (also --verbose)',
    '--debug': 'show the traceback of an error',
}


def load_command(name: str) -> Callable[..., int | None]:
    """Import a command, and no other.

    Args:
        name: Key of the table.

    Returns:
        Its function.
    """
    module = importlib.import_module(f'torchgeo_cmr.cli.{VERBS[name][0]}')
    return getattr(module, name.replace('-', '_'))
