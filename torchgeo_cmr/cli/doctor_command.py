"""The command doctor: whether this installation works."""

import json
import sys

from torchgeo_cmr.cli.terminal import printable


def doctor(*, json_: bool = False) -> int:
    """Say which versions are installed, what is broken or missing, and the cure.

    Packages are imported in a process of their own and those that compute are tried: GDAL and its
    drivers, PROJ and its data, the kernels of numkong, torch and its GPU. Then come cores and
    threads, temporary files, QGIS. Exit code 0: nothing is wrong; 1: something is. Whole
    installations take half a minute, because all of torch is imported.

        torchgeo-cmr doctor

    As JSON, to report with a fault:

        torchgeo-cmr doctor --json

    Args:
        json_: Print a list of group, name, text, state (ok, absent or fault) and cure instead of
            lines.
    """
    from torchgeo_cmr.doctor.diagnosis import diagnose
    from torchgeo_cmr.progress.bars import bar

    with bar(None, 'package', 'import') as shown:
        facts = diagnose(lambda: shown.update())
    faults = [fact for fact in facts if fact.state == 'fault']
    if json_:
        sys.stdout.write(json.dumps([f._asdict() for f in facts], indent=1) + '\n')
        return int(bool(faults))
    group = ''
    width = max(len(fact.name) for fact in facts)
    signs = {'ok': ' ', 'absent': '-', 'fault': '!'}
    for fact in facts:
        if fact.group != group:
            group = fact.group
            sys.stdout.write(f'{group}\n')
        line = f' {signs[fact.state]} {fact.name.ljust(width)}  {fact.text}'
        line += f': {fact.cure}' if fact.cure else ''
        sys.stdout.write(printable(line) + '\n')
    count = len(faults)
    sys.stdout.write(
        f'{count} {"fault" if count == 1 else "faults"}'
        f'{", marked ! with the cure" if count else ""}\n'
    )
    return int(bool(faults))
