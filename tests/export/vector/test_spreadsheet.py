"""CSV: text stays text in a spreadsheet."""

import csv
from pathlib import Path

import geopandas as gpd
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
