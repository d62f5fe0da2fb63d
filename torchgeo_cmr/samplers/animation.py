"""Batches of patches as an animation."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import shapely
from pyproj import CRS
from shapely import Polygon

from torchgeo_cmr.samplers.occupancy import Occupancy

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation


def animate(
    title: str,
    ground: Sequence[tuple[Polygon, CRS]],
    batches: Iterable[Sequence[tuple[tuple[slice, slice, slice], CRS]]],
    count: int,
) -> 'FuncAnimation':
    """Plot patches on their ground, batch after batch.

    Args:
        title: Title of the plot.
        ground: Where patches may lie.
        batches: Patches of each batch.
        count: Number of batches.

    Returns:
        An animation with one frame per batch.
    """
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation
    from matplotlib.collections import PolyCollection

    occupancy = Occupancy(lonlat=len({crs for _, crs in ground}) > 1)
    fig, ax = plt.subplots()
    ax.set(title=title, xlabel='x', ylabel='y')
    drawn: list[PolyCollection] = []

    def add(shapes: Sequence[tuple[Polygon, CRS]], colour: str) -> None:
        rings = [
            occupancy.common(shapely.get_coordinates(shape.exterior)[None], crs)[0]
            for shape, crs in shapes
        ]
        collection = PolyCollection(rings, alpha=0.3, facecolor=colour)
        ax.add_collection(collection)
        drawn.append(collection)

    def clear() -> list[PolyCollection]:
        while drawn:
            drawn.pop().remove()
        add(ground, 'tab:blue')
        ax.autoscale_view()
        ax.set_aspect('equal', adjustable='datalim')
        return drawn

    def show(
        batch: Sequence[tuple[tuple[slice, slice, slice], CRS]],
    ) -> list[PolyCollection]:
        # Keep the ground, remove the previous batch.
        while len(drawn) > 1:
            drawn.pop().remove()
        boxes = [
            (shapely.box(x.start, y.start, x.stop, y.stop), crs)
            for (x, y, _), crs in batch
        ]
        add(boxes, 'tab:orange')
        return drawn

    return FuncAnimation(fig, show, frames=batches, init_func=clear, save_count=count)
