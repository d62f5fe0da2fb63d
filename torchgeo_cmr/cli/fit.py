"""The verbs fit, validate, test and predict: LightningCLI on TorchGeo's bases."""

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningCLI
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

# Classes that are imported can be named without their path in YAML and flags.
import torchgeo_cmr.datamodules
import torchgeo_cmr.datasets
import torchgeo_cmr.tasks  # noqa: F401
from torchgeo_cmr import __version__


class _CLI(LightningCLI):
    """LightningCLI that keeps the checkpoint with the best score of the task by default."""

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the words that the console script hands over."""
        with warnings.catch_warnings():
            # It fears that these words and those of the process differ; they are the same.
            warnings.filterwarnings('ignore', message="LightningCLI's args parameter")
            super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Add a checkpoint callback if the user named none."""
        config = self.config[str(self.subcommand)]
        trainer = config['trainer']
        given = trainer.get('callbacks') or []
        given = given if isinstance(given, list) else [given]
        wants = trainer.get('enable_checkpointing') is not False
        if wants and not any('Checkpoint' in c['class_path'] for c in given):
            module, _, name = config['model']['class_path'].rpartition('.')
            task: type[BaseTask] = getattr(import_module(module), name)
            best = Namespace(
                class_path='lightning.pytorch.callbacks.ModelCheckpoint',
                init_args=Namespace(
                    monitor=task.monitor,
                    mode=task.mode,
                    filename='best',
                    save_last=True,
                ),
            )
            trainer['callbacks'] = [*given, best]


def fit(args: Sequence[str]) -> Any:
    """Run LightningCLI.

    Args:
        args: Subcommand (fit, validate, test or predict) and its flags.

    Returns:
        The command line object, with ``model``, ``datamodule`` and ``trainer``.
    """
    return _CLI(
        model_class=BaseTask,
        datamodule_class=BaseDataModule,
        seed_everything_default=0,
        parser_kwargs={'version': __version__, 'prog': 'torchgeo-cmr'},
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={'overwrite': True},
        args=list(args),
    )
