"""Water and roads of the synthetic world: which way things flow on a coarse grid.

Heights and costs are given on a coarse grid; lines come back in grid coordinates, already
smoothed, so that the map can buffer and draw them at any resolution.
"""

import heapq
import math

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]

_STEPS = tuple(
    (dr, dc, math.hypot(dr, dc))
    for dr in (-1, 0, 1)
    for dc in (-1, 0, 1)
    if (dr, dc) != (0, 0)
)


def _border(height: int, width: int) -> NDArray[np.int64]:
    """Return the flat indices of the outermost cells."""
    cells = np.arange(height * width).reshape(height, width)
    inner = np.zeros(cells.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    return cells[~inner]


def drainage(
    height: NDArray[np.float32], rough: NDArray[np.float32]
) -> tuple[NDArray[np.int64], ...]:
    """Route the water of a basin to its lowest border cell.

    Depressions are filled on the way (Barnes, Lehman and Mulla 2014, "Priority-flood",
    Computers & Geosciences 62, 117-127), each cell draining to the one that flooded it.

    Args:
        height: ``(rows, cols)`` heights in metres.
        rough: ``(rows, cols)`` metres, positive: the rise that water overcomes in crossing a
            cell of a filled depression, which makes it meander there.

    Returns:
        three flat arrays: cells from the outlet upwards, the cell each drains to (-1 at the
        outlet), and the number of cells that drain through each.
    """
    rows, cols = height.shape
    level = height.ravel().tolist()
    rise = rough.ravel().tolist()
    border = _border(rows, cols)
    outlet = int(border[np.argmin(height.ravel()[border])])
    parent = [-2] * (rows * cols)
    parent[outlet] = -1
    heap = [(level[outlet], outlet)]
    order = []
    while heap:
        lowest, cell = heapq.heappop(heap)
        order.append(cell)
        row, col = divmod(cell, cols)
        for dr, dc, _ in _STEPS:
            r, c = row + dr, col + dc
            if 0 <= r < rows and 0 <= c < cols:
                other = r * cols + c
                if parent[other] == -2:
                    parent[other] = cell
                    heapq.heappush(
                        heap, (max(level[other], lowest + rise[other]), other)
                    )
    count = [1] * (rows * cols)
    for cell in reversed(order):
        if parent[cell] >= 0:
            count[parent[cell]] += count[cell]
    return np.array(order), np.array(parent), np.array(count)


def above_stream(
    height: NDArray[np.float32],
    order: NDArray[np.int64],
    parent: NDArray[np.int64],
    stream: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the height of each cell above the stream it drains into.

    Args:
        height: ``(rows, cols)`` heights in metres.
        order: cells from the outlet upwards, of :func:`drainage`.
        parent: the cell each drains to, of :func:`drainage`.
        stream: flat mask of stream cells.

    Returns:
        ``(rows, cols)`` metres, never negative.
    """
    level = height.ravel().tolist()
    base = list(level)
    for cell in order.tolist():
        up = int(parent[cell])
        if not stream[cell] and up >= 0:
            base[cell] = base[up]
    return np.maximum(
        height - np.array(base, dtype=np.float32).reshape(height.shape), 0
    )


def streams(
    height: NDArray[np.float32],
    parent: NDArray[np.int64],
    count: NDArray[np.int64],
    least: float,
) -> list[tuple[Line, float]]:
    """Trace the streams of a basin, the through-flowing river first.

    Args:
        height: ``(rows, cols)`` heights in metres.
        parent: the cell each drains to, of :func:`drainage`.
        count: cells that drain through each, of :func:`drainage`.
        least: cells that must drain through a cell to make it a stream.

    Returns:
        pairs of an ``(n, 2)`` line of (row, column) grid coordinates running downstream and
        the mean number of cells draining through it; the first is the river.
    """
    rows, cols = height.shape
    border = _border(rows, cols)
    outlet = int(np.flatnonzero(parent == -1)[0])
    far = np.hypot(border // cols - outlet // cols, border % cols - outlet % cols)
    border = border[far > 0.85 * far.max()]
    source = int(border[np.argmin(height.ravel()[border])])
    stream = count > least
    children = np.zeros(stream.size, dtype=np.int64)
    np.add.at(children, parent[stream & (parent >= 0)], 1)
    heads = np.flatnonzero(stream & (children == 0))
    heads = heads[np.argsort(-height.ravel()[heads], kind='stable')]
    seen: set[int] = set()
    lines = []
    for head in (source, *heads.tolist()):
        cell, path = head, [head]
        while cell not in seen and parent[cell] >= 0:
            seen.add(cell)
            cell = int(parent[cell])
            path.append(cell)
        if len(path) > 3:
            line = np.array([divmod(c, cols) for c in path], dtype=np.float64) + 0.5
            lines.append((smooth(line, 3), float(count[path].mean())))
    return lines


def cheapest(
    cost: NDArray[np.float32], start: tuple[int, int], goal: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Find the cheapest way from a cell to the nearest goal cell (Dijkstra).

    Args:
        cost: ``(rows, cols)`` cost of crossing a cell, positive.
        start: (row, column) to start from.
        goal: ``(rows, cols)`` mask of cells where the way may end.

    Returns:
        (row, column) cells from the start to the goal.
    """
    rows, cols = cost.shape
    price = cost.ravel().tolist()
    ends = goal.ravel().tolist()
    first = start[0] * cols + start[1]
    best = {first: 0.0}
    came: dict[int, int] = {}
    done: set[int] = set()
    heap = [(0.0, first)]
    cell = first
    while heap:
        spent, cell = heapq.heappop(heap)
        if cell in done:
            continue
        if ends[cell]:
            break
        done.add(cell)
        row, col = divmod(cell, cols)
        for dr, dc, length in _STEPS:
            r, c = row + dr, col + dc
            if 0 <= r < rows and 0 <= c < cols:
                other = r * cols + c
                total = spent + length * (price[cell] + price[other]) / 2
                if other not in done and total < best.get(other, math.inf):
                    best[other] = total
                    came[other] = cell
                    heapq.heappush(heap, (total, other))
    path = [cell]
    while path[-1] in came:
        path.append(came[path[-1]])
    return [divmod(c, cols) for c in reversed(path)]


def smooth(line: Line, rounds: int) -> Line:
    """Round the corners of a line, keeping its ends.

    Each round averages neighbours and then cuts the corners (Chaikin 1974, "An algorithm for
    high-speed curve generation", Computer Graphics and Image Processing 3(4), 346-349).

    Args:
        line: ``(n, 2)`` vertices.
        rounds: how often; each doubles the number of vertices.

    Returns:
        ``(m, 2)`` vertices.
    """
    for _ in range(rounds):
        if len(line) > 2:
            middle = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
            line = np.concatenate((line[:1], middle, line[-1:]))
        cut = np.stack(
            (0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]), 1
        ).reshape(-1, 2)
        line = np.concatenate((line[:1], cut, line[-1:]))
    return line
