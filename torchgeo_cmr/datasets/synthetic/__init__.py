"""A seeded synthetic world: files of two or more sensors with known truth."""

from .landscape import DATES, SCENES, SyntheticLandscape
from .writer import Tile

__all__ = ('DATES', 'SCENES', 'SyntheticLandscape', 'Tile')
