"""The search engine: filter, plan, rank, merge.

An index is, at any moment, a :class:`~torchgeo_cmr.search.store.snapshot.State`; everything here is a
function of it.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.progress.bars import bar
from torchgeo_cmr.search.memory import FEWER, check_fits
from torchgeo_cmr.search.rank.exact import equal_neighbours
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows
from torchgeo_cmr.search.rank.plan import Plan, choose
from torchgeo_cmr.search.where.border import Border
from torchgeo_cmr.search.where.where import Step, Where
from torchgeo_cmr.table import EmbeddingTable

from .doubtful_rows import LATE, best_tested, without
from .exclusion import Exclusion, read_exclusion
from .segment import alphabetical
from .snapshot import State

#: Selected rows that are held at a time, where each query has its own.
_HELD = 1 << 22
#: Most extra rows requested of an approximate index for those hidden from a query.
_MORE = 1_000
#: Bytes of a row and its score while queries are ranked.
_PAIR = 24

type _Rows = NDArray[np.int64]
type _Scores = NDArray[np.float32]
type _Answer = tuple[_Rows, _Scores]


@dataclass(frozen=True)
class Group:
    """Queries that may find the same rows.

    Args:
        queries: Which queries (n,).
        selection: Positions in each part that they may find.
        steps: What each clause of the filter did.
        borders: Of each part, what is left to be tested; nothing if there are none.
    """

    queries: _Rows
    selection: list[_Rows]
    steps: tuple[Step, ...]
    borders: Sequence[list[Border]] = ()


@dataclass(frozen=True)
class GroupReport:
    """How queries that may find the same rows were answered.

    Args:
        queries: How many they are.
        rows: Rows left to them, the mean.
        steps: What each clause of the filter did, then what was withheld, the means.
        plans: How the parts were searched.
    """

    queries: int
    rows: float
    steps: tuple[Step, ...]
    plans: tuple[Plan, ...]


def select(
    state: State,
    where: Where | None,
    query: EmbeddingTable | None,
    borders: Sequence[list[Border]] = (),
) -> tuple[list[_Rows], list[Step]]:
    """Give the living positions of each part that match, and what each clause did.

    What may be tested later goes into *borders*, one list for each part; without them all is
    tested.
    """
    if where is not None and not isinstance(where, Where):
        raise QueryError(f'where is a {type(where).__name__}; give a Where(...)')
    selection: list[_Rows] = []
    steps: list[Sequence[Step]] = []
    for part, columns, untested in zip(
        state.parts,
        state.columns.members,
        borders or [None] * len(state.parts),
        strict=True,
    ):
        if where is None:
            selection.append(part.living())
            continue
        chosen, taken = part.narrow(where, columns, query, untested)
        selection.append(chosen)
        steps.append(taken)
    return selection, summed(steps, 1)


def groups_of(
    state: State,
    where: Where | None,
    table: EmbeddingTable | None,
    num_queries: int,
    *,
    late: bool = False,
) -> Iterator[Group]:
    """Put queries that may find the same rows together, as far as memory allows.

    With *late*, rows at borders of areas may be left to be tested.
    """
    if not isinstance(where, Where) or not where.relative or table is None:
        borders: list[list[Border]] = [[] for _ in state.parts] if late else []
        selection, steps = select(state, where, None, borders)
        yield Group(np.arange(num_queries), selection, tuple(steps), borders)
        return
    equal: dict[bytes, tuple[list[int], list[_Rows], list[list[Step]]]] = {}
    held = 0
    for i in range(num_queries):
        selection, steps = select(state, where, table.select([i]))
        key = _digest(selection)
        if key not in equal:
            equal[key] = [], selection, []
            held += sum(map(len, selection))
        equal[key][0].append(i)
        equal[key][2].append(steps)
        if held > _HELD or i == num_queries - 1:
            for queries, kept, report in equal.values():
                yield Group(
                    np.array(queries), kept, tuple(summed(report, len(queries)))
                )
            equal, held = {}, 0


def _digest(selection: Sequence[_Rows]) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for chosen in selection:
        made.update(len(chosen).to_bytes(8, 'little'))
        made.update(np.ascontiguousarray(chosen))
    return made.digest()


def summed(runs: Sequence[Sequence[Step]], times: int) -> list[Step]:
    """Add up what each clause did in every run, one that comes twice each time; divide by *times*."""
    if len(runs) == times == 1:
        return [*runs[0]]
    by: dict[tuple[str, int], list[Step]] = {}
    for steps in runs:
        met = Counter[str]()
        for step in steps:
            by.setdefault((step.clause, met[step.clause]), []).append(step)
            met[step.clause] += 1
    return [
        Step(
            clause,
            round(sum(s.before for s in same) / times),
            round(sum(s.after for s in same) / times),
            sum(s.seconds for s in same),
            None
            if all(s.undated is None for s in same)
            else round(sum(s.undated or 0 for s in same) / times),
        )
        for (clause, _), same in by.items()
    ]


def _rank(
    state: State,
    vectors: NDArray[Any],
    k: int,
    selection: Sequence[_Rows],
    withheld: Sequence[HiddenRows | None],
    *,
    exact: bool,
    borders: Sequence[list[Border]] = (),
) -> tuple[_Rows, _Scores, list[Plan]]:
    """Rank the selected rows of every part and merge."""
    answers: list[_Answer] = []
    plans: list[Plan] = []
    untested = borders or [[]] * len(state.parts)
    for i, (part, chosen, held) in enumerate(
        zip(state.parts, selection, withheld, strict=True)
    ):
        if not len(chosen) and len(state.parts) > 1:
            continue
        most, others = 0, () if exact else state.approximate[i]
        if others:
            # How much is left decides which index answers.
            for border in untested[i]:
                chosen = border.tested(chosen)
        if held is not None and others:
            # Hidden rows are requested as well and then dropped; a scan is quicker if many are.
            most = held.most(chosen, len(vectors))
            others = others if most <= _MORE else ()
        plan = choose(part.vectors, others, len(chosen), exact=exact)
        if plan.approximate is not None:
            found, score = plan.approximate.search(
                part.vectors, chosen, vectors, k + most, ties=part.ranks
            )
            if held is not None:
                found, score = without(held.holds(found), found, score, k)
        else:
            how = {'spare': plan.spare, 'withheld': held, 'looks': plan.looks}
            best = partial(part.best, queries=vectors, **how)
            found, score = best_tested(best, chosen, untested[i], k, len(vectors))
        plans.append(plan)
        answers.append((part.to_numbers(found) + state.starts[i], score))
    if not answers:
        empty = (len(vectors), 0)
        return np.empty(empty, np.int64), np.empty(empty, np.float32), plans
    return *_merged(state, answers, k), plans


def _merged(state: State, answers: list[_Answer], k: int) -> _Answer:
    """Give the k best of several answers to the same queries."""
    if len(answers) == 1:
        return answers[0]
    rows = np.concatenate([a for a, _ in answers], axis=1)
    scores = np.concatenate([b for _, b in answers], axis=1)
    order = np.argsort(-scores, axis=1, kind='stable')
    ordered = np.take_along_axis(scores, order, 1)
    # Names are compared only where scores are equal and either may be among the k.
    head = ordered[:, : k + 1]
    equal = (head[:, 1:] == head[:, :-1]) & np.isfinite(head[:, 1:])
    if equal.any():
        tied = equal.any(axis=1)
        ties = names_ranked(state, rows[tied])
        order[tied] = np.lexsort((ties, -scores[tied]))
    order = order[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def names_ranked(state: State, rows: _Rows) -> _Rows:
    """Rank the names of some rows: alphabetical ranks among themselves, of their shape."""
    once, which = np.unique(rows, return_inverse=True)
    names = pa.array(state.columns.attributes(once, ['patch_id'])['patch_id'])
    return alphabetical(names)[which].reshape(rows.shape)


@dataclass(frozen=True)
class Question:
    """Queries with their filter and exclusion, as the engine takes them.

    Args:
        vectors: Queries (num_queries, dim).
        where: Which rows may be found.
        exclusion: What each query must not find.
    """

    vectors: NDArray[Any]
    where: Where | None
    exclusion: Exclusion


def question_of(
    vectors: NDArray[Any],
    where: Where | None,
    table: EmbeddingTable | None,
    exclude: str | float | None,
    days: float | None,
) -> Question:
    """Read filter and exclusion.

    Raises:
        QueryError: If they do not fit the queries.
    """
    return Question(vectors, *read_exclusion(table, where, exclude, days))


def ranked(
    state: State,
    question: Question,
    k: int,
    exact: bool,
    calibrated: bool,
    *,
    counted: bool = False,
    size: float = 0,
) -> tuple[list[_Rows], list[_Scores], list[GroupReport]]:
    """Rank every group of queries; rows and scores come one array per query.

    Hidden rows are reported only if they are to be counted. What is made of each row later takes
    *size* bytes.
    """
    vectors, exclusion = question.vectors, question.exclusion
    self_match = exclusion.own
    wide = k if self_match is None else k + self_match.most
    rows: list[_Rows] = [np.empty(0, np.int64)] * len(vectors)
    scores: list[_Scores] = [np.empty(0, np.float32)] * len(vectors)
    reports, shown = [], bar(len(vectors), 'query', 'search')
    # What is counted or compared by modality is tested first, and so is what many hits need.
    late = not counted and not calibrated and len(vectors) * wide <= LATE
    table, where = exclusion.table, question.where
    for group in groups_of(state, where, table, len(vectors), late=late):
        plans: list[Plan] = []
        apart = mine = 0
        begin = time.perf_counter()
        spent = 0.0
        most = min(wide, sum(map(len, group.selection)))
        pairs = most * len(group.queries)
        check_fits(pairs * (_PAIR + size), f'a result of {pairs} rows', FEWER)
        for queries, withheld in exclusion.chunks(state, group.queries):
            spent += time.perf_counter() - begin
            batch = vectors[queries]
            found, score, group_plans = _answer(
                state, batch, wide, group, withheld, exact, calibrated
            )
            plans += group_plans
            out = ~np.isfinite(score)
            if self_match is not None:
                cosines = None if calibrated else score
                ours = self_match.among(state, queries, found, cosines) & ~out
                mine, out = mine + np.count_nonzero(ours), out | ours
            for i, query in enumerate(queries):
                left = np.flatnonzero(~out[i])[:k] if out[i].any() else slice(k)
                rows[query], scores[query] = found[i][left], score[i][left]
            if counted:
                apart += _counted(group.selection, withheld, len(queries))
            shown.update(len(queries))
            begin = time.perf_counter()
        steps = list(group.steps)
        every, number = sum(map(len, group.selection)), max(1, len(group.queries))
        left = every - apart / number
        if counted and exclusion.words:
            steps.append(Step(exclusion.words, every, round(left), spent))
        if counted and mine:
            rest = round(left), round(left - mine / number)
            steps.append(Step('not the query itself', *rest, 0.0))
        reports.append(
            GroupReport(len(group.queries), left, tuple(steps), tuple(plans))
        )
    shown.close()
    return rows, scores, reports


def _answer(
    state: State,
    vectors: NDArray[Any],
    k: int,
    group: Group,
    withheld: Sequence[HiddenRows | None],
    exact: bool,
    calibrated: bool,
) -> tuple[_Rows, _Scores, list[Plan]]:
    """Rank selected rows, each modality on its own if scores are calibrated."""
    selection, borders = group.selection, group.borders
    if not calibrated:
        return _rank(
            state, vectors, k, selection, withheld, exact=exact, borders=borders
        )
    answers, plans = [], []
    for modality, chosen in state.calibration.split(selection):
        found, score, plan = _rank(state, vectors, k, chosen, withheld, exact=exact)
        score = state.calibration.standardise(vectors, score, modality)
        answers.append((found, score))
        plans += plan
    return *_merged(state, answers, k), plans


def _counted(
    selection: Sequence[_Rows], withheld: Sequence[HiddenRows | None], num_queries: int
) -> int:
    """Count what is withheld from queries among the rows that they may find."""
    return sum(
        int(held.counts(chosen, num_queries).sum())
        for chosen, held in zip(selection, withheld, strict=True)
        if held is not None
    )


def reaching(
    state: State, question: Question, min_score: float
) -> tuple[list[_Rows], list[_Scores]]:
    """Give all rows that reach a score, one array per query."""
    vectors, exclusion = question.vectors, question.exclusion
    self_match = exclusion.own
    rows: list[_Rows] = [np.empty(0, np.int64)] * len(vectors)
    scores: list[_Scores] = [np.empty(0, np.float32)] * len(vectors)
    if not len(vectors):
        return rows, scores
    for group in groups_of(state, question.where, exclusion.table, len(vectors)):
        for queries, withheld in exclusion.chunks(state, group.queries):
            pairs = []
            for part, chosen, start, held in zip(
                state.parts, group.selection, state.starts, withheld, strict=False
            ):
                owner, position, score = part.reaching(
                    chosen, vectors[queries], min_score, withheld=held
                )
                pairs.append((owner, part.to_numbers(position) + start, score))
            owner, row, score = (np.concatenate(p) for p in zip(*pairs, strict=True))
            order = np.lexsort((-score, owner))
            if len(pairs) > 1 and equal_neighbours(owner[order], score[order]):
                order = np.lexsort((names_ranked(state, row), -score, owner))
            owner, row, score = owner[order], row[order], score[order]
            if self_match is not None:
                kept = ~self_match.among(
                    state, queries[owner], row[:, None], score[:, None]
                )
                owner, row, score = (x[kept[:, 0]] for x in (owner, row, score))
            cuts = np.searchsorted(owner, np.arange(1, len(queries)))
            for i, mine, worth in zip(
                queries, np.split(row, cuts), np.split(score, cuts), strict=True
            ):
                rows[i], scores[i] = mine, worth
    return rows, scores


def stacked[S: np.floating](
    rows: list[_Rows], scores: list[NDArray[S]]
) -> tuple[_Rows, NDArray[S]]:
    """Put the rows of several queries below one another.

    Raises:
        QueryError: If some have more than others.
    """
    width = {len(r) for r in rows}
    if len(width) > 1:
        raise QueryError(
            f'what is filtered and excluded leaves {min(width)} rows to one query and '
            f'{max(width)} to another, which does not form an array; rank them '
            'one by one or use search'
        )
    return np.array(rows), np.array(scores)
