"""What all algorithms have in common: options become words of a command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtGui import QIcon

from ..found_program import chosen_program
from ..picture import icon
from ..process import run

#: How the address of a database begins, which is not a folder.
_ADDRESS = ('postgresql://', 'postgres://')


class CommandAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that runs one command of ``torchgeo-cmr``.

    A subclass names the command, adds its parameters, those that are plain
    options with :meth:`add`, and says in ``processAlgorithm`` what the other
    parameters mean.
    """

    #: The command, its title, and what it does.
    COMMAND = ''
    TITLE = ''
    HELP = ''

    def __init__(self) -> None:
        """Begin without parameters."""
        super().__init__()
        #: Parameter -> flag of the command.
        self.flags_of: dict[str, str] = {}

    def name(self) -> str:
        """Name of the algorithm within the provider."""
        return self.COMMAND

    def displayName(self) -> str:
        """Name in the toolbox."""
        return self.TITLE

    def shortHelpString(self) -> str:
        """Text next to the parameters."""
        return self.HELP

    def icon(self) -> QIcon:
        """Picture in the toolbox."""
        return icon(self.COMMAND)

    def createInstance(self) -> CommandAlgorithm:
        """Make another of its kind, as QGIS does for each run."""
        return type(self)()

    def checkParameterValues(
        self, parameters: dict[str, Any], context: Any
    ) -> tuple[bool, str]:
        """Name a parameter that is missing by what the dialog calls it.

        Args:
            parameters: Parameters of the run.
            context: Its context.
        """
        optional = QgsProcessingParameterDefinition.Flag.FlagOptional
        for parameter in self.parameterDefinitions():
            value = parameters.get(parameter.name())
            needed = not parameter.flags() & optional
            if needed and parameter.defaultValue() is None and is_empty(value):
                return False, f'{parameter.description()}: nothing is given'
        return super().checkParameterValues(parameters, context)

    def add(
        self,
        flag: str,
        parameter: QgsProcessingParameterDefinition,
        *,
        advanced: bool = False,
    ) -> None:
        """Add a parameter that is an option of the command.

        Args:
            flag: The option, such as ``--where``; empty if it is more than
                one word, which ``processAlgorithm`` writes.
            parameter: Its parameter.
            advanced: Whether it stands in the advanced group.
        """
        if advanced:
            shown = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            parameter.setFlags(parameter.flags() | shown)
        if flag:
            self.flags_of[parameter.name()] = flag
        self.addParameter(parameter)

    def values(
        self, parameters: dict[str, Any], context: Any
    ) -> dict[str, Any]:
        """Give the plain options that were set.

        Args:
            parameters: Parameters of the run.
            context: Its context.

        Returns:
            Parameter -> number, text, list of texts or True.
        """
        found = {}
        for name in self.flags_of:
            definition = self.parameterDefinition(name)
            if not is_empty(parameters.get(name, definition.defaultValue())):
                found[name] = self._value(definition, parameters, context)
        return {n: v for n, v in found.items() if not _is_unset(v)}

    def words(self, values: dict[str, Any]) -> list[str]:
        """Write options as words of the command.

        Args:
            values: As :meth:`values` gives them.
        """
        words = []
        for name, value in values.items():
            flag = self.flags_of[name]
            for item in value if isinstance(value, list) else [value]:
                # One word, so that a value may begin with a dash.
                word = flag if item is True else f'{flag}={item}'
                words.append(word)
        return words

    def run_command(
        self, words: list[str], feedback: Any, accepted: Sequence[int] = (0,)
    ) -> None:
        """Run the command.

        Args:
            words: Its arguments.
            feedback: Takes progress and messages.
            accepted: Exit codes of a run that has done its work.

        Raises:
            QgsProcessingException: If there is no program, or it failed.
        """
        program = chosen_program()
        if not program:
            raise QgsProcessingException(
                'torchgeo-cmr was not found: install torchgeo_cmr, or name '
                'the program in Settings > Options > Cross-modal retrieval'
            )
        run(program, [self.COMMAND, *words], feedback, accepted)

    def _value(self, definition: Any, parameters: Any, context: Any) -> Any:
        """Read one parameter."""
        name = definition.name()
        if isinstance(definition, QgsProcessingParameterBoolean):
            return self.parameterAsBool(parameters, name, context)
        if isinstance(definition, QgsProcessingParameterNumber):
            whole = QgsProcessingParameterNumber.Type.Integer
            if definition.dataType() == whole:
                return self.parameterAsInt(parameters, name, context)
            return self.parameterAsDouble(parameters, name, context)
        if isinstance(definition, QgsProcessingParameterEnum):
            return self.parameterAsEnumString(parameters, name, context)
        if isinstance(definition, QgsProcessingParameterFile):
            return place(self.parameterAsFile(parameters, name, context))
        value = self.parameterAsString(parameters, name, context)
        if definition.multiLine():
            return [
                line.strip() for line in value.splitlines() if line.strip()
            ]
        return value.strip()


def _is_unset(value: Any) -> bool:
    # Zero is a value: it equals False, but is not the same.
    return value is False or value == '' or value == []


def is_empty(value: Any) -> bool:
    """Say whether a parameter was not given.

    Args:
        value: Value of the parameter.
    """
    return (
        value is None
        or value == ''
        or (hasattr(value, 'isNull') and value.isNull())
    )


def given_files(
    algorithm: CommandAlgorithm,
    parameters: dict[str, Any],
    context: Any,
    *names: str,
) -> list[str]:
    """Give those of some files and folders that were chosen.

    Args:
        algorithm: Whose parameters they are.
        parameters: Parameters of the run.
        context: Its context.
        names: Names of the parameters.
    """
    return [
        algorithm.parameterAsFile(parameters, name, context)
        for name in names
        if not is_empty(parameters.get(name))
    ]


def more_archives(
    algorithm: CommandAlgorithm, parameters: dict[str, Any], context: Any
) -> list[str]:
    """Give the lines of the parameter of more archives.

    Args:
        algorithm: Whose parameters they are.
        parameters: Parameters of the run.
        context: Its context.
    """
    others = algorithm.parameterAsString(parameters, 'OTHERS', context)
    return list(filter(str.strip, others.splitlines()))


def place(word: str) -> str:
    """Make a path absolute; the address of a database stays as it is.

    Args:
        word: Folder, file or address.
    """
    word = word.strip()
    return word if word.startswith(_ADDRESS) else os.path.abspath(word)
