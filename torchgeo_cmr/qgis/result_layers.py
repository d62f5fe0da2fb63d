"""What a command wrote, as layers: styled, timed, in a group of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsVectorLayer,
)

#: Layers of a result, the uppermost first; a raster lies below them.
ORDER = ('query', 'links', 'results', 'area_of_interest')

#: Property of the groups of runs.
_MARK = 'torchgeo_cmr/run'
#: Layer id -> the parameters of the search that found it, in this session.
#: They are not kept in the layer, because a project of somebody else could
#: then name an archive, and one click would open it.
SEARCHES: dict[str, dict[str, Any]] = {}


class RunGroup:
    """The group of the layers of one run.

    Args:
        name: Its name in the layer panel.
    """

    def __init__(self, name: str) -> None:
        """Begin without layers, and without a place in the tree."""
        self.name = name
        self.node: Any = None

    def take(self, node: Any) -> None:
        """Move a layer into the group, to its place among the others.

        Args:
            node: The layer's node in the tree.
        """
        parent = node.parent()
        if self.node is None:
            above = parent
            # QGIS puts a layer next to the one that is chosen, perhaps into
            # the group of another run.
            while above.customProperty(_MARK):
                above = above.parent()
            self.node = above.insertGroup(0, self.name)
            self.node.setCustomProperty(_MARK, True)
        children = self.node.children()
        # QGIS may have put the node into the group already, above another.
        below = (
            row
            for row, child in enumerate(children)
            if child != node and _place(child.name()) > _place(node.name())
        )
        copy = node.clone()
        self.node.insertChildNode(next(below, len(children)), copy)
        # Only now: a layer that is not in the tree leaves the project.
        parent.removeChildNode(node)


class StyledLayer(QgsProcessingLayerPostProcessorInterface):
    """Gives a layer the style and the times that its file holds.

    Args:
        name: Name of the layer.
        group: The group that it belongs to.
        search: Parameters of the search, to be repeated with another query.
    """

    #: QGIS does not keep them alive, and calls them when a run has ended.
    _alive: ClassVar[list[StyledLayer]] = []

    def __init__(
        self, name: str, group: RunGroup, search: dict[str, Any] | None
    ) -> None:
        """Wait for the layer."""
        super().__init__()
        self.name = name
        self.group = group
        self.search = search
        self._alive.append(self)

    def postProcessLayer(
        self, layer: Any, context: Any, feedback: Any
    ) -> None:
        """Finish a layer that was added to the project.

        Args:
            layer: The layer.
            context: Context of the algorithm.
            feedback: Not used.
        """
        # Only this reads the times that the style of the file sets.
        layer.loadDefaultStyle()
        layer.setName(self.name)
        if self.search is not None:
            SEARCHES[layer.id()] = self.search
        project = context.project()
        node = project and project.layerTreeRoot().findLayer(layer.id())
        if node:
            self.group.take(node)
        self._alive.remove(self)


def load_layers(
    context: Any,
    path: str,
    project: Any,
    *,
    raster: str = '',
    search: dict[str, Any] | None = None,
) -> str:
    """Have all layers of an output loaded when the algorithm has ended.

    Args:
        context: Context of the algorithm.
        path: The vector file.
        project: Project that takes the layers; None if the user wants none.
        raster: Similarity raster next to it; empty if there is none.
        search: Parameters of the search.

    Returns:
        Address of the layer of results.
    """
    found = QgsProviderRegistry.instance().querySublayers(path)
    layers = {layer.name(): layer.uri() for layer in found}
    results = layers.get('results', next(iter(layers.values()), path))
    if project is None:
        return results
    if raster and Path(raster).is_file():
        layers[Path(raster).stem] = raster
    group = RunGroup(_title(path))
    for name, uri in layers.items():
        details = QgsProcessingContext.LayerDetails(name, project, name)
        details.setPostProcessor(
            StyledLayer(name, group, search if uri == results else None)
        )
        context.addLayerToLoadOnCompletion(uri, details)
    return results


def is_result(layer: Any) -> bool:
    """Say whether a layer holds patches, such as hits or footprints.

    Args:
        layer: A layer, or None.
    """
    return (
        isinstance(layer, QgsVectorLayer)
        and layer.fields().indexOf('patch_id') >= 0
    )


def _title(path: str) -> str:
    """Name the group of an output."""
    if Path(QgsProcessingUtils.tempFolder()) in Path(path).parents:
        return 'Cross-modal retrieval (temporary)'
    return Path(path).stem


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
