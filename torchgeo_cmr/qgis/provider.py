"""The provider: the algorithms in the toolbox of Processing."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms.changes_algorithm import ChangesAlgorithm
from .algorithms.embed_algorithm import EmbedAlgorithm
from .algorithms.evaluate_algorithm import EvaluateAlgorithm
from .algorithms.export_algorithm import ExportAlgorithm
from .algorithms.index_algorithm import IndexAlgorithm
from .algorithms.search_algorithm import SearchAlgorithm
from .picture import icon

ALGORITHMS = (
    SearchAlgorithm,
    EmbedAlgorithm,
    IndexAlgorithm,
    ChangesAlgorithm,
    EvaluateAlgorithm,
    ExportAlgorithm,
)


class Provider(QgsProcessingProvider):
    """Gives Processing the algorithms, as ``torchgeo_cmr:search`` etc."""

    def id(self) -> str:
        """Name in scripts."""
        return 'torchgeo_cmr'

    def name(self) -> str:
        """Name in the toolbox."""
        return 'Cross-modal retrieval'

    def icon(self) -> QIcon:
        """Picture in the toolbox."""
        return icon('icon')

    def loadAlgorithms(self) -> None:
        """Add all algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Formats of layers, the usual one first."""
        return ['gpkg', 'geojson', 'fgb']

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """Format of a temporary layer: one with styles in it.

        Args:
            hasGeometry: Not used.
        """
        return 'gpkg'
