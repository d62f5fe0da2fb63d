"""A report: every score with its chance level, and everything needed to reproduce it."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

#: Patterns of the names of what is called F1, and what each is.
_F1 = {
    r'f1@\d+': 'is the mean F1 of the label sets of each item (X-JEPA, CR-JEPA)',
    r'f1@\d+_of_means': 'joins the mean precision and the mean recall of all queries (CSMAE) '
    'and is as a rule larger',
    r'f1_at_rank_\d+': 'is that of the last item alone (the precursor of SS-CM-RSIR)',
    r'f1@\d+_binary': 'joins P@k and R@k of relevant or not',
    r'f1@\d+_capped': 'joins P@k and recall over min(k, R)',
}


@dataclass(frozen=True)
class Report:
    """What :func:`make_report` found, as plain data."""

    #: The rule of relevance in words.
    relevance: str
    #: Name, splits, similarity, cut-offs, exclusion, source, what the source leaves open, the
    #: rules for ties and queries without answer, and the formula of each measure.
    protocol: dict[str, Any]
    #: Rows by modality, and rows skipped, of the queries and the archive.
    counts: dict[str, Any]
    #: ``'a->b'`` -> counts, ``scores`` (measure -> value, chance, low, high), ``by``, ``leak``
    #: and, where splits are known to leak, ``caution``; None where a score does not exist or
    #: its chance level is not known.
    directions: dict[str, Any]
    #: Seed of the draws.
    seed: int
    #: Resamples, what was resampled, how many blocks; None without.
    bootstrap: dict[str, Any] | None
    #: SHA-256 over patch ids and vectors of the queries and the archive.
    fingerprint: dict[str, str]
    #: Versions of what computed it.
    versions: dict[str, str]
    #: What a reader should know.
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Write None for NaN and infinity."""
        object.__setattr__(self, 'directions', _known(self.directions))

    def to_json(self) -> str:
        """Give the report as JSON text; a score that does not exist is null."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + '\n'

    def to_markdown(self) -> str:
        """Give the report as Markdown tables: scores, breakdowns, leak check, conditions."""
        lines = ['# Evaluation', '', f'Relevant: {self.relevance}.', '']
        lines += _protocol(self.protocol)
        for name, found in self.directions.items():
            lines += [f'## {name}', '', _size(found), '', *_scores(found['scores'])]
            if 'caution' in found:
                lines += [f'**Caution.** {found["caution"]}', '']
            for kind, groups in found.get('by', {}).items():
                lines += _groups(kind, groups)
            if 'leak' in found:
                lines += _leak(found['leak'])
        formulas = self.protocol.get('formulas', {})
        lines += [
            '## Measures',
            '',
            *(f'- `{k}`: {v}' for k, v in formulas.items()),
            '',
        ]
        lines += ['## Conditions', '', '| | |', '|---|---|']
        settings = {k: v for k, v in self.protocol.items() if k != 'formulas'}
        settings |= {'seed': self.seed, 'bootstrap': self.bootstrap}
        settings['counts'] = self.counts
        settings.update({f'sha256 of {k}': v for k, v in self.fingerprint.items()})
        settings['versions'] = self.versions
        lines += [f'| {key} | {_cell(value)} |' for key, value in settings.items()]
        lines += ['', *(f'- {note}' for note in self.notes)]
        return '\n'.join(lines).rstrip() + '\n'


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _protocol(protocol: dict[str, Any]) -> list[str]:
    if not protocol.get('source'):
        return []
    lines = [f'Protocol {protocol["name"]}. {protocol["source"]}.']
    if protocol.get('unknown'):
        lines.append(f'Not known: {protocol["unknown"]}.')
    return [' '.join(lines), '']


def _size(found: dict[str, Any]) -> str:
    return (
        f'{found["queries"]} queries, {found["empty"]} more without a relevant item '
        f'skipped, {found["gallery"]} items.'
    )


def _scores(scores: dict[str, Any]) -> list[str]:
    ranges = any('low' in score for score in scores.values())
    head = '| measure | value | chance |' + (' 95 % |' if ranges else '')
    lines = [head, '|---|---:|---:|' + ('---|' if ranges else '')]
    for name, score in scores.items():
        line = f'| {name} | {_number(score["value"])} | {_number(score["chance"])} |'
        if ranges:
            low, high = (_number(score.get(end)) for end in ('low', 'high'))
            line += f' {low} to {high} |'
        lines.append(line)
    return [*lines, '', *_which_f1(scores)]


def _which_f1(names: Iterable[str]) -> list[str]:
    """Tell the numbers apart that are all called F1, if a table holds two of them."""
    found = [name for name in names if name.startswith('f1')]
    forms = {
        form: next((name for name in found if re.fullmatch(form, name)), None)
        for form in _F1
    }
    present = [f'`{name}` {_F1[form]}' for form, name in forms.items() if name]
    if len(present) < 2:
        return []
    return [f'Not the same F1: {"; ".join(present)}.', '']


def _groups(kind: str, groups: dict[str, Any]) -> list[str]:
    names = _deepest(next(iter(groups.values()), {'scores': {}})['scores'])
    lines = [
        f'By {kind}, value (chance):',
        '',
        f'| {kind} | queries | empty | {" | ".join(names)} |',
        '|---|---:|---:|' + '---:|' * len(names),
    ]
    for name, group in groups.items():
        cells = [
            f'{_number(score["value"])} ({_number(score["chance"])})'
            for score in (group['scores'][n] for n in names)
        ]
        row = ' | '.join([_cell(name), str(group['queries']), str(group['empty'])])
        lines.append(f'| {row} | {" | ".join(cells)} |')
    return [*lines, '']


def _deepest(names: Iterable[str]) -> list[str]:
    """Drop measures that are there with a larger k as well: a table has a width."""
    cuts = {
        name: int(found[0]) for name in names if (found := re.findall(r'@(\d+)', name))
    }
    most = max(cuts.values(), default=0)
    return [name for name in names if cuts.get(name, most) == most]


def _leak(leak: dict[str, Any]) -> list[str]:
    sentence = (
        f'Within {leak["metres"]:g} m of training ground: {_number(leak["queries"])} of the '
        f'queries, {_number(leak["gallery"])} of the items, {_number(leak["hits"])} of the '
        f'first {leak["k"]} hits.'
    )
    return [sentence, '']


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = ', '.join(f'{k} {_cell(v)}' for k, v in value.items())
    elif isinstance(value, list | tuple):
        value = ', '.join(map(str, value))
    return 'none' if value is None else str(value).replace('|', '\\|')
