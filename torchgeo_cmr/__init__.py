"""Cross-modal retrieval of georeferenced imagery, as a TorchGeo plugin.

Import what you need from the subpackages: this module stays empty so that it costs
nothing to import, and so that searching never loads torch.
"""

__version__ = '0.1.0.dev0'
