"""Run the command line with ``python -m torchgeo_cmr``."""

import sys

from torchgeo_cmr.main import main

if __name__ == '__main__':
    sys.exit(main())
