"""The whole journey in one script, on a small synthetic world.

    python examples/01_journey.py [FOLDER]

Writes three folders into FOLDER (a temporary one by default): ``train``, paired scenes to
train on; ``archive``, optical scenes of another invented country, to search in; ``event``,
radar scenes of that country, the queries. From there on it is the script of the quickstart.

The training is much too short to find things well: this shows how the parts fit together.
``torchgeo-cmr demo`` trains for longer and scores what it finds.
"""

import os
import sys
import tempfile
from pathlib import Path

from lightning.pytorch import Trainer
from shapely import box
from torchgeo.datasets import Sentinel1, Sentinel2

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datasets import SyntheticLandscape
from torchgeo_cmr.embed import embed
from torchgeo_cmr.export import to_geojson
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.tasks import SSCMRSIR

out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
SyntheticLandscape(out / 'train', seed=0, size=384, sensors=('s1', 's2'))
# Equal seeds are one country: the archive and the event show the same ground.
SyntheticLandscape(out / 'archive', seed=1, size=384, sensors=('s2',))
SyntheticLandscape(out / 'event', seed=1, size=384, sensors=('s1',))
os.chdir(out)

# From here on, the script of the README (a test compares them).
# fmt: off
S2 = ('B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B11', 'B12')
data = PairedDataModule({'s1': Sentinel1('train/s1'), 's2': Sentinel2('train/s2', bands=S2)}, patch_size=32)
task = SSCMRSIR(in_channels={'s1': 2, 's2': 12}, model='resnet10t')
Trainer(max_epochs=5).fit(task, data)
archive = embed(task, Sentinel2('archive/s2', bands=S2), modality='s2', size=32)
queries = embed(task, Sentinel1('event/s1'), modality='s1', size=32)
where = Where(box(11.88, 42.03, 11.94, 42.07), crs='EPSG:4326', during=('2024-06-01', '2024-09-01'))
to_geojson(RetrievalIndex(archive).search(queries, k=20, where=where), 'hits.geojson')
# fmt: on

print(f'{Path("hits.geojson").resolve()}: drag it into QGIS')
