"""The page in a real browser without a network: drawn, silent, asking for nothing.

Chromium of the system is used as it is. Without it the tests are skipped, unless
``TORCHGEO_CMR_REQUIRE_BROWSER`` says that they must run.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pytest
from matplotlib import image

from torchgeo_cmr.export import scenes_of, to_html
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]

pytestmark = pytest.mark.browser

NAMES = ('chromium', 'chromium-browser', 'google-chrome')


class Seen(NamedTuple):
    picture: np.ndarray
    #: Lines that the page wrote to the console, such as errors and broken policies.
    console: list[str]
    #: Addresses that the page asked the network for.
    asked: list[str]


@pytest.fixture(scope='session')
def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get('TORCHGEO_CMR_REQUIRE_BROWSER'):
            pytest.fail('no Chromium; apt-get install --no-install-recommends chromium')
        pytest.skip('no Chromium to open the page with')
    return found


@pytest.fixture
def look(browser: str, tmp_path: Path) -> Callable[[Path], Seen]:
    """Open a page with every name of the network unknown, and say what happened."""

    def call(page: Path) -> Seen:
        home = tmp_path / 'browser'
        home.mkdir(exist_ok=True)
        shot, log = home / 'page.png', home / 'net.json'
        done = subprocess.run(
            [
                browser,
                '--headless=new',
                # Chromium refuses to be sandboxed as root, as in a container.
                '--no-sandbox',
                '--disable-gpu',
                '--disable-dev-shm-usage',
                '--no-first-run',
                f'--user-data-dir={home / "profile"}',
                '--host-resolver-rules=MAP * ~NOTFOUND',
                '--enable-logging=stderr',
                f'--log-net-log={log}',
                '--window-size=1100,900',
                '--hide-scrollbars',
                f'--screenshot={shot}',
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert shot.exists(), done.stderr[-2000:]
        console = [line for line in done.stderr.splitlines() if ':CONSOLE' in line]
        events = [e.get('params') for e in json.loads(log.read_text())['events']]
        # What the browser does for itself has no origin; it cannot be told to stay silent.
        asked = [
            e['url']
            for e in events
            if isinstance(e, dict)
            and 'url' in e
            and e.get('initiator', 'not an origin') != 'not an origin'
        ]
        return Seen(image.imread(shot)[..., :3], console, asked)

    return call


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Count the pixels of a colour."""
    return int((np.abs(picture * 255 - colour) < 6).all(axis=-1).sum())


@pytest.mark.slow
def test_the_page_is_drawn_and_asks_for_nothing(
    make: Make,
    hits: gpd.GeoDataFrame,
    scenes: Path,
    tmp_path: Path,
    look: Callable[[Path], Seen],
) -> None:
    record = {'scenes': scenes_of([make('s1'), make('s2')])}
    for told in record['scenes'].values():
        told['root'] = str(scenes)
    # A name that would load a picture and run a script, were it not escaped.
    hits['source'] = hits['source'].where(hits['rank'] == 1, 's2.tif')
    hits['query_id'] = (
        '<img src="http://example.invalid/x.png"><script>console.error(1)</script>'
    )
    queries = make('s1', 2)
    page = to_html(hits, tmp_path / 'hits.html', queries=queries, record=record)
    seen = look(page)
    assert seen.console == []
    assert seen.asked == []
    # The best hit is the bright end of viridis at 60 % on white, outlined by its query.
    assert near(seen.picture, (254, 241, 124)) > 2000
    assert near(seen.picture, (215, 25, 28)) > 200


@pytest.mark.slow
def test_the_test_would_see_a_fault(
    tmp_path: Path, look: Callable[[Path], Seen]
) -> None:
    page = tmp_path / 'bad.html'
    page.write_text(
        '<!DOCTYPE html><img src="http://example.invalid/x.png">'
        '<script>console.error("boom")</script>'
    )
    seen = look(page)
    assert seen.asked == ['http://example.invalid/x.png']
    assert any('boom' in line for line in seen.console)
