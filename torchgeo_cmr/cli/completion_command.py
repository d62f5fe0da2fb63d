"""The command completion: a script that completes commands and options in a shell."""

import argparse
import sys

#: Arguments whose value is a file or a folder.
_PATHS = {
    *(
        'archive',
        'archives',
        'queries',
        'results',
        'scenes',
        'source',
        'manifest',
        'out',
    ),
    *('within', 'ckpt', 'query', 'refine', 'and_', 'hubs', 'clips', 'using', 'labels'),
    *('train_area', 'root', 'catalogue', 'path', 'profile'),
}


def completion(shell: str) -> None:
    """Print a script that completes commands, options and file names in a shell.

    For bash, in this shell, or kept for later ones:

        eval "$(torchgeo-cmr completion bash)"
        torchgeo-cmr completion bash > ~/.local/share/bash-completion/completions/torchgeo-cmr

    For zsh, in a folder of its fpath, and for fish:

        torchgeo-cmr completion zsh > ~/.zfunc/_torchgeo-cmr
        torchgeo-cmr completion fish > ~/.config/fish/completions/torchgeo-cmr.fish

    Args:
        shell: bash, zsh, fish, tcsh or powershell.
    """
    import shtab

    from torchgeo_cmr.errors import QueryError

    if shell not in shtab.SUPPORTED_SHELLS:
        known = ', '.join(shtab.SUPPORTED_SHELLS)
        raise QueryError(f'shell {shell!r} is not known: use one of {known}')
    sys.stdout.write(shtab.complete(_root(), shell=shell) + '\n')


def _root() -> argparse.ArgumentParser:
    """Build one parser of all commands, each with its options."""
    import shtab

    from torchgeo_cmr.cli.commands import GLOBAL, VERBS, load_command
    from torchgeo_cmr.cli.parser import build

    root = argparse.ArgumentParser(prog='torchgeo-cmr')
    commands = root.add_subparsers()
    for name, (module, summary) in VERBS.items():
        if module == 'fit_command':
            # The options of LightningCLI depend on its YAML.
            commands.add_parser(name, help=summary)
            continue
        parser = build(load_command(name), f'torchgeo-cmr {name}')
        for action in parser._actions:
            if action.dest in _PATHS:
                action.complete = shtab.FILE  # ty: ignore[missing-attribute]
        for flag, text in GLOBAL.items():
            if flag not in parser._option_string_actions:
                parser.add_argument(flag, action='store_true', help=text)
        commands.add_parser(name, help=summary, parents=[parser], add_help=False)
    return root
