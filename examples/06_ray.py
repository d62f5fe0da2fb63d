"""Embed in actors of Ray: the archive of a run on this process alone.

    python examples/06_ray.py FOLDER CHECKPOINT

FOLDER has Sentinel-2 scenes; the archive is written next to it. With RAY_ADDRESS set, actors
run on that cluster, which must see both folders. Needs torchgeo-cmr[ray].
"""

import sys

from torchgeo_cmr.embed import embed
from torchgeo_cmr.tasks import load_task

if __name__ == '__main__':
    scenes, checkpoint = sys.argv[1:]
    task = load_task(checkpoint)
    table = embed(task, scenes, 's2', 32, out=f'{scenes}-archive', engine='ray')
    print(f'{len(table)} patches')
