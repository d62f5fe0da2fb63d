"""Figures of an evaluation: the curve has the numbers of the report, the folder all figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.evaluate import make_report, plot_folder, plot_recall
from torchgeo_cmr.evaluate.plot_folder import write_plots
from torchgeo_cmr.evaluate.recall_curve import CUTS
from torchgeo_cmr.main import main

from .export.pictures.test_embedding_map import ALONG, table


def test_a_curve_has_the_recall_and_the_chance_of_the_report() -> None:
    made = table(noise=0.5)
    report = make_report(
        made,
        made,
        relevance='place',
        k=CUTS,
        metrics=['recall@k'],
        directions='cross',
        bootstrap=20,
        block=1000,
    )
    axis = plot_recall(report).axes[0]
    assert axis.get_legend_handles_labels()[1] == ['s1->s2', 's2->s1']
    for number, found in enumerate(report.directions.values()):
        curve, chance = axis.lines[2 * number : 2 * number + 2]
        for line, what in ((curve, 'value'), (chance, 'chance')):
            assert np.asarray(line.get_xdata()).tolist() == [*CUTS]
            expected = [found['scores'][f'recall@{k}'][what] for k in CUTS]
            assert line.get_ydata() == pytest.approx(expected)
    assert len(axis.collections) == 2  # the intervals


def test_a_report_without_recall_has_no_curve() -> None:
    made = table()
    report = make_report(made, made, relevance='place', metrics=['map'])
    with pytest.raises(QueryError, match=r'no recall@k; make it with metrics='):
        plot_recall(report)


def test_the_space_has_both_sensors_if_they_name_places_alike() -> None:
    made = table(noise=0.3)
    half = np.arange(ALONG**2)
    queries, archive = (made.select(rows) for rows in (half, half + len(half)))
    same = queries.frame['patch_id'].to_numpy()
    archive = replace(archive, frame=archive.frame.assign(patch_id=same))
    found = plot_folder._few(queries, archive)
    assert found.frame['modality'].value_counts().to_dict() == {
        's1': len(half),
        's2': len(half),
    }
    assert len(plot_folder._few(queries, replace(queries))) == len(half)


@pytest.mark.slow
@pytest.mark.parametrize('apart', [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_command_writes_a_folder_of_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], apart: bool
) -> None:
    made = table(noise=0.3)
    names = ['archive', 'archive']
    if apart:  # each modality in a folder of its own
        names = ['queries', 'archive']
        half = np.arange(ALONG**2)
        made.select(half).save(tmp_path / 'queries')
        made = made.select(half + len(half))
    made.save(tmp_path / 'archive')
    words = ['evaluate', *(str(tmp_path / n) for n in names), '--relevance', 'place']
    words += ['--plots', str(tmp_path / 'figures')]
    assert main(words) == 0
    said = capsys.readouterr()
    drawn = {p.name for p in (tmp_path / 'figures').iterdir()}
    maps = {
        f'map_{m}.{s}'
        for m in (['s2'] if apart else ['s1', 's2'])
        for s in ('tif', 'png')
    }
    assert drawn == {'recall.png', 'gap.png', 'hubs.png'} | maps | (
        {'contact_sheet.png'} if 'contact_sheet.png' in drawn else set()
    )
    for name in drawn:
        assert f'{tmp_path}/figures/{name}' in said.out
    assert main(words) != 0  # nothing is replaced unasked


def test_figures_are_of_the_rows_of_the_report(tmp_path: Path) -> None:
    made = table()
    west = made.boxes[:, 0] < np.median(made.boxes[:, 0])
    splits = np.where(west, 'test', 'train')
    made = replace(made, frame=made.frame.assign(split=splits))
    curves = make_report(
        made, made, relevance='place', k=CUTS, metrics=['recall@k'], split='test'
    )
    write_plots(tmp_path, made, made, curves)
    with rasterio.open(tmp_path / 'map_s1.tif') as found:
        seen = transform_bounds(found.crs, 4326, *found.bounds)
    assert seen[2] <= made.boxes[~west, 0].min() + 1e-3
    assert seen[0] <= made.boxes[:, 0].min() + 1e-3


@pytest.mark.slow
def test_an_archive_of_one_modality_says_what_it_cannot_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table().select(np.arange(ALONG**2)).save(tmp_path / 'archive')
    words = ['evaluate', *[str(tmp_path / 'archive')] * 2, '--relevance', 'near:2']
    words += ['--plots', str(tmp_path / 'figures')]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert 'gap.png is not drawn: the archive has the modality s1 alone' in said
    drawn = tmp_path / 'figures' / 'recall.png'
    drawn.write_bytes(b'of yesterday')
    assert main([*words, '--overwrite']) == 0
    assert drawn.read_bytes().startswith(b'\x89PNG')
