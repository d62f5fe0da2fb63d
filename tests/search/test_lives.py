"""An index in every life finds what a plain list of rows finds, compared one by one."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

DIM = 6
START = pd.Timestamp('2024-01-01', tz='UTC')
#: Columns that rows of one batch share: none, or of numbers, words, truths, whole numbers.
COLUMNS: dict[str, Callable[[np.random.Generator], Any]] = {
    'cloud': lambda rng: float(rng.integers(0, 100)),
    'label': lambda rng: str(rng.choice(['a', 'b'])),
    'good': lambda rng: bool(rng.random() < 0.5),
    'orbit': lambda rng: int(rng.integers(0, 5)),
}
CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    'cloud < 50': lambda row: row.get('cloud') is not None and row['cloud'] < 50,
    "label = 'a'": lambda row: row.get('label') == 'a',
    'label is null': lambda row: row.get('label') is None,
    'not good': lambda row: row.get('good') is False,
    'orbit in (1, 2) or cloud > 80': lambda row: (
        row.get('orbit') in (1, 2) or (row.get('cloud') or 0) > 80
    ),
}
AREA = shapely.Polygon([(9.1, 45.1), (9.8, 45.2), (9.6, 45.9), (9.2, 45.6)])
WINDOW = ('2024-03-01', '2024-06-01')


class Lives(RuleBasedStateMachine):
    """Append, delete, save, open and build anew, with a list of rows as the truth."""

    mapped = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.rows: list[dict[str, Any]] = []
        self.known: set[str] = set()
        self.made = 0

    def batch(
        self, seed: int, n: int, names: set[str], placed: float
    ) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        made = []
        for _ in range(n):
            # Some vectors are equal, so that ties are broken by name across parts.
            vector = rng.normal(size=DIM) if rng.random() < 0.7 else np.ones(DIM)
            corner = rng.uniform([9, 45], [10, 46])
            dated = rng.random() < 0.8
            made.append(
                {
                    'patch_id': f'{rng.integers(1000)}-{self.made}',
                    'vector': (vector / np.linalg.norm(vector)).astype(np.float32),
                    'shape': shapely.box(*corner, *(corner + 0.1))
                    if rng.random() < placed
                    else None,
                    'time': START + pd.Timedelta(days=int(rng.integers(300)))
                    if dated
                    else None,
                    'modality': str(rng.choice(['s1', 's2'])),
                    **{
                        name: None if rng.random() < 0.2 else COLUMNS[name](rng)
                        for name in sorted(names)
                    },
                }
            )
            self.made += 1
        return made

    def table(self, rows: list[dict[str, Any]], names: set[str]) -> EmbeddingTable:
        own = {name: [row[name] for row in rows] for name in sorted(names)}
        times = pd.Series([row['time'] for row in rows], dtype='datetime64[us, UTC]')
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [row['patch_id'] for row in rows],
                'modality': [row['modality'] for row in rows],
                'time_start': times,
                'time_end': times,
                **own,
            },
            geometry=gpd.GeoSeries([row['shape'] for row in rows], crs=4326),
        )
        vectors = np.stack([row['vector'] for row in rows])
        return EmbeddingTable.from_frame(frame, vectors, placeless=True)

    def build(self, source: Any) -> RetrievalIndex:
        path = self.folder / 'index' if self.mapped else None
        return RetrievalIndex.build(source, path, overwrite=True)

    @initialize(
        seed=st.integers(0, 2**32),
        n=st.integers(1, 12),
        names=st.sets(st.sampled_from(sorted(COLUMNS))),
        placed=st.sampled_from([0, 0.7, 1]),
    )
    def begin(self, seed: int, n: int, names: set[str], placed: float) -> None:
        self.rows = self.batch(seed, n, names, placed)
        self.known = set(names)
        self.index = self.build(self.table(self.rows, names))

    @rule(
        seed=st.integers(0, 2**32),
        n=st.integers(1, 12),
        names=st.sets(st.sampled_from(sorted(COLUMNS))),
        placed=st.sampled_from([0, 0.7, 1]),
    )
    def append(self, seed: int, n: int, names: set[str], placed: float) -> None:
        new = self.batch(seed, n, names, placed)
        self.index.append(self.table(new, names))
        self.rows += new
        self.known |= names

    @rule(seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 0.5, 1]))
    def delete(self, seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        gone = {row['patch_id'] for row in self.rows if rng.random() < share}
        self.index.delete(gone)
        self.rows = [row for row in self.rows if row['patch_id'] not in gone]

    @rule(text=st.sampled_from(sorted(CONDITIONS)))
    def delete_what_is_found(self, text: str) -> None:
        try:
            self.index.delete(Where(where=text))
        except QueryError:
            return  # the search says whether that is right
        self.rows = [row for row in self.rows if not CONDITIONS[text](row)]

    @rule()
    def rebuild(self) -> None:
        if self.rows:
            self.index = self.build(self.index.table)

    @rule()
    def reopen(self) -> None:
        path = self.index.save(self.folder / 'index', overwrite=True)
        self.index = RetrievalIndex.open(path)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @invariant()
    def as_long(self) -> None:
        if self.made:
            assert len(self.index) == len(self.rows)

    @rule(
        seed=st.integers(0, 2**32),
        text=st.sampled_from([None, *CONDITIONS]),
        area=st.booleans(),
        window=st.booleans(),
        k=st.sampled_from([1, 3, 100]),
        calibrated=st.booleans(),
    )
    def search(
        self,
        seed: int,
        text: str | None,
        area: bool,
        window: bool,
        k: int,
        calibrated: bool,
    ) -> None:
        where = Where(
            AREA if area else None,
            'EPSG:4326' if area else None,
            during=WINDOW if window else None,
            where=text,
        )
        query = np.random.default_rng(seed).normal(size=DIM)
        parts = set() if text is None else {n for n in COLUMNS if n in text}
        nowhere = all(row['shape'] is None for row in self.rows)
        if parts - self.known or (area and self.rows and nowhere):
            with pytest.raises(QueryError):
                self.index.search(query, k, where=where)
            return
        found = self.index.search(query, k, where=where, calibrated=calibrated)
        left = [row for row in self.rows if self.passes(row, text, area, window)]
        unit = (query / np.linalg.norm(query)).astype(np.float32).astype(float)
        score = {
            r['patch_id']: np.float32(r['vector'].astype(float) @ unit) for r in left
        }
        if calibrated:
            one = RetrievalIndex(self.index.table) if self.rows else self.index
            truth = one.search(query, k, where=where, calibrated=True)
            assert found['patch_id'].tolist() == truth['patch_id'].tolist()
            assert found['score'].tolist() == pytest.approx(truth['score'].tolist())
        else:
            best = sorted(score, key=lambda name: (-score[name], name))[:k]
            assert found['patch_id'].tolist() == best
            assert found['score'].tolist() == pytest.approx([score[n] for n in best])
        told = self.index.explain(query, k, where=where, calibrated=calibrated)
        assert (told.archive, told.rows) == (len(self.rows), len(left))
        assert all(s.before <= len(self.rows) for s in told.steps)
        rows = {row['patch_id']: row for row in self.rows}
        for hit in found.to_dict('records'):
            row = rows[hit['patch_id']]
            for name in self.known:
                value = None if pd.isna(hit[name]) else hit[name]
                assert value == row.get(name)
            assert (hit['geometry'] is None) == (row['shape'] is None)

    @staticmethod
    def passes(row: dict[str, Any], text: str | None, area: bool, window: bool) -> bool:
        if text is not None and not CONDITIONS[text](row):
            return False
        if area and (row['shape'] is None or not row['shape'].intersects(AREA)):
            return False
        start, end = (pd.Timestamp(one, tz='UTC') for one in WINDOW)
        return not window or (row['time'] is not None and start <= row['time'] < end)


class LivesOnDisk(Lives):
    """The same, mapped from a folder."""

    mapped = True


@pytest.mark.slow
@pytest.mark.parametrize('machine', [Lives, LivesOnDisk])
def test_an_index_in_every_life(machine: type[Lives]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
