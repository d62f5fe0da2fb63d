"""Arguments in messages of the library, which are options on a terminal."""

import re

from torchgeo_cmr.cli.commands import VERBS, load_command
from torchgeo_cmr.cli.signature import read_arguments


def as_options(message: str, command: str) -> str:
    """Write arguments that a message names in backticks as the options of a command.

    Args:
        message: What the library says, for people who write Python.
        command: The command that called it; ``fit`` and its like take YAML, whose keys are the
            arguments themselves.

    Examples:
        >>> as_options('state it with `scale`, or set `res` of the dataset', 'embed')
        'state it with --scale, or set `res` of the dataset'
    """
    if '`' not in message or VERBS[command][0] == 'fit_command':
        return message
    arguments = read_arguments(load_command(command), explained=False)
    flags = {each.name: each.flag for each in arguments if not each.positional}
    return re.sub('`([a-z_]+)`', lambda found: flags.get(found[1], found[0]), message)
