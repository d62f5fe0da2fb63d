"""One thing that was looked at: how it is, and what to do if it is not well."""

from typing import Literal, NamedTuple


class Fact(NamedTuple):
    """What was found about one thing.

    Args:
        group: Heading that it belongs under.
        name: What was looked at.
        text: How it is.
        state: ``'ok'``; ``'absent'``, which is fine until a command needs it; ``'fault'``.
        cure: What to type or change; empty if nothing is to be done.
    """

    group: str
    name: str
    text: str
    state: Literal['ok', 'absent', 'fault'] = 'ok'
    cure: str = ''
