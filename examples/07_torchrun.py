"""Embed in several processes: each takes its share, and the archive is that of one.

    torchrun --nproc-per-node 2 examples/07_torchrun.py FOLDER CHECKPOINT

FOLDER has Sentinel-2 scenes; the archive is written next to it. On several machines that see
both folders, give torchrun --nnodes and --rdzv-endpoint.
"""

import os
import sys

from torchgeo_cmr.embed import embed
from torchgeo_cmr.tasks import load_task

scenes, checkpoint = sys.argv[1:]
task = load_task(checkpoint)
table = embed(task, scenes, 's2', 32, out=f'{scenes}-archive', engine='lightning')
if os.environ.get('RANK', '0') == '0':
    print(f'{len(table)} patches')
