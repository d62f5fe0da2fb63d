"""All that is looked at, in order."""

from collections.abc import Callable
from typing import Any

from .fact import Fact
from .geodata import geodata_facts
from .machine import machine_facts
from .packages import modules, package_facts
from .probes import probe


def diagnose(step: Callable[[], Any] = lambda: None) -> list[Fact]:
    """Look at this installation and machine.

    Args:
        step: Called when a package has been tried; torch takes the longest.

    Returns:
        The facts, group by group.
    """
    probed: dict[str, dict[str, Any]] = {}
    for name, facts in probe(modules()):
        probed[name] = facts
        step()
    return [*package_facts(probed), *geodata_facts(probed), *machine_facts(probed)]
