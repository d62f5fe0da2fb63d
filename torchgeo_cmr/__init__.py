"""Cross-modal retrieval of georeferenced imagery, as a TorchGeo plugin.

Import what you need from the subpackages: this module imports none of them, so that it costs
nothing, and so that searching never loads torch.
"""

import os as _os

__version__ = '0.1.0.dev0'

# Torch reads it when it first takes memory, unless the user has set it: features in huge pages, for
# fetching them in small ones takes up to a third of the time in which a CPU embeds.
_os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
