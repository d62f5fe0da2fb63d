"""The plugin: provider, tools and options in the window of QGIS."""

from __future__ import annotations

from typing import Any, Callable

from qgis.core import QgsApplication

from .picture import icon
from .program_page import ProgramPageFactory
from .provider import Provider
from .repeated_search import MoreLikeThis, Repeater

_MENU = '&Cross-modal retrieval'


class Plugin:
    """Adds what it has to the window, and takes it away again.

    Args:
        iface: Interface to the QGIS window; None without a window.
    """

    def __init__(self, iface: Any) -> None:
        """Remember the window; nothing is added yet."""
        self.iface = iface
        self.provider: Provider | None = None
        self.page: ProgramPageFactory | None = None
        self.toolbar: Any = None
        self.tool: MoreLikeThis | None = None
        self.actions: list[Any] = []

    def initProcessing(self) -> None:
        """Add the algorithms, which ``qgis_process`` needs alone."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add algorithms, tool bar, menu and options."""
        self.initProcessing()
        self.page = ProgramPageFactory()
        self.iface.registerOptionsWidgetFactory(self.page)
        repeater = Repeater(self.iface)
        self.tool = MoreLikeThis(repeater, self.iface.mapCanvas())
        self.toolbar = self.iface.addToolBar('Cross-modal retrieval')
        self.toolbar.setObjectName('torchgeo_cmr')
        self._act('search', 'Search an archive…', self._search)
        click = self._act(
            'more', 'More like this: click on a hit', self._take_tool
        )
        click.setCheckable(True)
        self.tool.setAction(click)
        self._act(
            'again',
            'Search again with marked hits',
            lambda: repeater.again(self.iface.activeLayer()),
        )
        self._act('options', 'Options…', self._options)

    def unload(self) -> None:
        """Take everything away again."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.page is None:
            return
        self.iface.unregisterOptionsWidgetFactory(self.page)
        self.page = None
        self.iface.mapCanvas().unsetMapTool(self.tool)
        for action in self.actions:
            self.iface.removePluginMenu(_MENU, action)
        self.actions = []
        self.toolbar.deleteLater()
        self.toolbar = self.tool = None

    def _act(self, name: str, title: str, do: Callable[[], None]) -> Any:
        """Add a button and an entry of the menu."""
        # The class QAction is in another module in Qt 6.
        action = self.toolbar.addAction(icon(name), title)
        # The signal has a word of its own, whether it is checked.
        action.triggered.connect(lambda *_: do())
        self.iface.addPluginToMenu(_MENU, action)
        self.actions.append(action)
        return action

    def _search(self) -> None:
        import processing

        processing.execAlgorithmDialog('torchgeo_cmr:search', {})

    def _take_tool(self) -> None:
        self.iface.mapCanvas().setMapTool(self.tool)

    def _options(self) -> None:
        self.iface.showOptionsDialog(currentPage='torchgeo_cmr')
