"""Parameters of algorithms, each made in one line."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)


def text(
    name: str, label: str, help_text: str = '', *, many: bool = False
) -> QgsProcessingParameterString:
    """Make an optional text.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
        help_text: Its tip.
        many: Whether each line is a value of its own.
    """
    made = QgsProcessingParameterString(name, label, None, many, True)
    made.setHelp(help_text)
    return made


def other_archives() -> QgsProcessingParameterString:
    """Make the text of further archives, which ``more_archives`` reads."""
    label = 'More archives'
    return text('OTHERS', label, 'One on each line.', many=True)


def number(
    name: str,
    label: str,
    *,
    least: float = 0.0,
    most: float | None = None,
    whole: bool = False,
    default: float | None = None,
) -> QgsProcessingParameterNumber:
    """Make an optional number.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
        least: Smallest value.
        most: Largest value.
        whole: Whether it is a whole number.
        default: Value if none is given.
    """
    kind = (
        QgsProcessingParameterNumber.Type.Integer
        if whole
        else QgsProcessingParameterNumber.Type.Double
    )
    made = QgsProcessingParameterNumber(
        name, label, kind, default, default is None, least
    )
    if most is not None:
        made.setMaximum(most)
    return made


def choice(
    name: str, label: str, words: list[str], help_text: str = ''
) -> QgsProcessingParameterEnum:
    """Make an optional choice among words.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
        words: What may be chosen.
        help_text: Its tip.
    """
    made = QgsProcessingParameterEnum(
        name, label, words, False, None, True, True
    )
    made.setHelp(help_text)
    return made


def switch(name: str, label: str) -> QgsProcessingParameterBoolean:
    """Make a box to tick.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
    """
    return QgsProcessingParameterBoolean(name, label, False, True)


def folder(
    name: str, label: str, help_text: str = '', *, needed: bool = False
) -> QgsProcessingParameterFile:
    """Make a folder to choose.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
        help_text: Its tip.
        needed: Whether it must be given.
    """
    kind = QgsProcessingParameterFile.Behavior.Folder
    made = QgsProcessingParameterFile(name, label, kind, '', None, not needed)
    made.setHelp(help_text)
    return made


def file(
    name: str, label: str, help_text: str = ''
) -> QgsProcessingParameterFile:
    """Make an optional file to choose.

    Args:
        name: Name of the parameter.
        label: What the dialog calls it.
        help_text: Its tip.
    """
    kind = QgsProcessingParameterFile.Behavior.File
    made = QgsProcessingParameterFile(name, label, kind, '', None, True)
    made.setHelp(help_text)
    return made
