"""CSV: text stays text in a spreadsheet."""

import csv
from pathlib import Path

import geopandas as gpd
import pandas as pd
import shapely

from torchgeo_cmr.export import to_csv


def test_formulas_become_text(tmp_path: Path) -> None:
    cells = ["=cmd|' /C calc'!A0", '+1', '-2', '@SUM(A1)', '\t=1', 'a\r=1', 'a=1', None]
    frame = gpd.GeoDataFrame(
        {'=name': cells, 'number': range(-4, 4), 'none': None},
        geometry=[shapely.box(0, 0, 1, 1)] * len(cells),
        crs=4326,
    )
    out = to_csv(frame, tmp_path / 'x.csv')
    with out.open(newline='', encoding='utf-8') as file:
        rows = [*csv.DictReader(file)]
    assert [row["'=name"] for row in rows] == [
        *(f"'{cell}" for cell in cells[:5]),
        'a\n=1',
        'a=1',
        '',
    ]
    assert [row['number'] for row in rows] == [str(i) for i in range(-4, 4)]
    assert '=name' not in rows[0]


def test_whole_numbers_keep_all_digits_next_to_nulls(tmp_path: Path) -> None:
    """A null among them made them floating-point numbers, exact up to 2^53 only."""
    numbers = {
        'signed': pd.array([2**53 + 1, None, -(2**63), 1], dtype='Int64'),
        'small': pd.array([127, None, -128, 0], dtype='Int8'),
        'unsigned': pd.array([2**64 - 1, None, 0, 1], dtype='UInt64'),
        'either': pd.array([True, None, False, True], dtype='boolean'),
    }
    frame = gpd.GeoDataFrame(
        numbers, geometry=[shapely.box(0, 0, 1, 1)] * 4, crs='EPSG:4326'
    )
    out = to_csv(frame, tmp_path / 'x.csv')
    with out.open(newline='', encoding='utf-8') as file:
        rows = [*csv.DictReader(file)]
    for name, column in numbers.items():
        expected = ['' if pd.isna(value) else str(value) for value in column]
        assert [row[name] for row in rows] == expected
