"""The page of the options of QGIS that names ``torchgeo-cmr``, with a test."""

from __future__ import annotations

from typing import Any

from qgis.gui import (
    QgsFileWidget,
    QgsOptionsPageWidget,
    QgsOptionsWidgetFactory,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QCursor
from qgis.PyQt.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
)

from .found_program import (
    choose_program,
    chosen_program,
    found_programs,
    named_program,
    other_version,
    read_version,
)
from .picture import icon

#: Title of the page.
TITLE = 'Cross-modal retrieval'
_HELP = (
    'The program <b>torchgeo-cmr</b> does the work. Install the package '
    'torchgeo_cmr in an environment of its own, not in the Python of QGIS, '
    'and name the program here. If nothing is named, the first one is used '
    'that is found on PATH, in ~/.local/bin, and in folders of conda and of '
    'virtual environments.'
)


class ProgramPage(QgsOptionsPageWidget):
    """Asks for the program, finds it, and tests it.

    Args:
        parent: The dialog.
    """

    def __init__(self, parent: Any = None) -> None:
        """Lay out the page, with the program that is named now."""
        super().__init__(parent)
        self.setObjectName('torchgeo_cmr')
        help_text = QLabel(_HELP)
        help_text.setWordWrap(True)
        self.file = QgsFileWidget()
        self.file.setFilePath(named_program())
        self.file.lineEdit().setPlaceholderText(chosen_program())
        self.find = QPushButton('Find')
        self.test = QPushButton('Test')
        self.answer = QLabel()
        self.answer.setWordWrap(True)
        # The answer quotes names of files.
        self.answer.setTextFormat(Qt.TextFormat.PlainText)
        self.find.clicked.connect(self._find)
        self.test.clicked.connect(self._test)
        row = QHBoxLayout()
        for widget in (self.file, self.find, self.test):
            row.addWidget(widget)
        column = QVBoxLayout(self)
        column.addWidget(help_text)
        column.addLayout(row)
        column.addWidget(self.answer)
        column.addStretch()

    def apply(self) -> None:
        """Keep the program; QGIS calls this when the dialog is accepted."""
        choose_program(self.file.filePath())

    def _find(self) -> None:
        found = list(found_programs())
        # Another click takes the next one.
        now = self.file.filePath()
        row = found.index(now) + 1 if now in found else 0
        if not found:
            self.answer.setText(
                'None was found: install it, or choose the file.'
            )
            return
        self.file.setFilePath(found[row % len(found)])
        self._test()

    def _test(self) -> None:
        program = self.file.filePath().strip() or chosen_program()
        if not program:
            self.answer.setText('There is nothing to test: name a program.')
            return
        QApplication.setOverrideCursor(QCursor(Qt.CursorShape.WaitCursor))
        try:
            version = read_version(program)
            notes = [f'{program} works: version {version}']
            notes += filter(None, [other_version(version)])
            self.answer.setText('. '.join(notes) + '.')
        except ValueError as error:
            self.answer.setText(f'{error}.')
        finally:
            QApplication.restoreOverrideCursor()


class ProgramPageFactory(QgsOptionsWidgetFactory):
    """Makes the page each time that the options are opened."""

    def __init__(self) -> None:
        """Name the page."""
        super().__init__()
        self.setTitle(TITLE)
        self.setIcon(icon('icon'))

    def createWidget(self, parent: Any) -> ProgramPage:
        """Make the page.

        Args:
            parent: The dialog.
        """
        return ProgramPage(parent)
