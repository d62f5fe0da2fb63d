"""The commands fit, validate, test and predict: LightningCLI on TorchGeo's bases."""

import errno
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import DefaultHelpFormatter, Namespace, namespace_to_dict
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

# Classes that are imported can be named without their path in YAML and flags.
import torchgeo_cmr.datamodules
import torchgeo_cmr.datasets  # noqa: F401
from torchgeo_cmr import __version__, tasks
from torchgeo_cmr.drafts import disk_cure, is_full_or_closed
from torchgeo_cmr.errors import LARGEST_SEED, CMRError, check_seed
from torchgeo_cmr.progress.bars import is_drawn, is_watched
from torchgeo_cmr.tasks.storage.checkpoint import load_plain
from torchgeo_cmr.tasks.storage.stored_task import SECTION
from torchgeo_cmr.yaml_size import check_yaml
from torchgeo_cmr.yaml_text import check_settings

from .checkpoint_files import CheckpointFiles, only_run
from .epoch_notes import EpochNotes
from .run_files import given
from .yaml_mistakes import defaults, explain, is_of_others, reason_of

#: What the help of each command ends with.
EXAMPLES = {
    'fit': """Train, with another learning rate than the file says, and go on with a run:

    torchgeo-cmr fit --config examples/02_train.yaml
    torchgeo-cmr fit --config examples/02_train.yaml --model.lr 0.001
    torchgeo-cmr fit --config examples/02_train.yaml --ckpt_path last.ckpt
""",
    'validate': """Score the best checkpoint on the places kept for validation:

    torchgeo-cmr validate --config examples/02_train.yaml --ckpt_path best.ckpt
""",
    'test': """Score the best checkpoint on the places kept for the test:

    torchgeo-cmr test --config examples/02_train.yaml --ckpt_path best.ckpt
""",
    'predict': """Embed with the trainer; for an archive with footprints, use embed:

    torchgeo-cmr predict --config examples/02_train.yaml --ckpt_path best.ckpt
    torchgeo-cmr embed scenes --ckpt best.ckpt --modality s2 --out archive
""",
}


class _Help(DefaultHelpFormatter):
    """Examples stay as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text in EXAMPLES.values():
            return text
        return super()._fill_text(text, width, indent)


#: What constructors raise when they are given what they cannot use.
_MISTAKES = (
    CMRError,
    ImportError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    MisconfigurationException,
)


class _Parser(LightningArgumentParser):
    """Parser whose complaints are one line: what was wrong, without every type it tried."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with the innermost reason, unless this is one attempt of several."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise CMRError(explain(ex) if ex is not None else message) from ex


class _CLI(LightningCLI):
    """LightningCLI that keeps the checkpoints with the best score and of the last epoch by default."""

    #: The subcommand that was typed; the parsers of the others would take longer than the rest of the start.
    typed = ''

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """Give the subcommand that was typed, with the arguments to skip; all if it is unknown."""
        known = LightningCLI.subcommands()
        return {cls.typed: known[cls.typed]} if cls.typed in known else known

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the words that the console script hands over.

        Raises:
            CMRError: If no run can go on from the checkpoint that they name.
        """
        with warnings.catch_warnings():
            # It fears that these words and those of the process differ; they are the same.
            warnings.filterwarnings('ignore', message="LightningCLI's args parameter")
            super().parse_arguments(parser, args)
        config = self.config.get(self.config.get('subcommand') or '', {})
        if 'weights_only' in config:
            # Lightning's own default is to run what a file on this disk holds.
            config['weights_only'] = config['weights_only'] is not False
        seed = config.get('seed_everything')
        if isinstance(seed, int) and not isinstance(seed, bool):
            check_seed(seed, name='seed_everything', most=LARGEST_SEED)

    def _parse_ckpt_path(self) -> None:
        """Take arguments of the task from a checkpoint, as Lightning does.

        Raises:
            CMRError: If no run can go on from it, or it names a class that the user did not.
        """
        if not (command := self.config.get('subcommand')):
            return
        config = self.config[command]
        options = _options_in(config.get('ckpt_path'), config)
        _compare(
            namespace_to_dict(config).get('model'), options, config.get('ckpt_path')
        )
        if '_class_path' in options:
            name = options.pop('_class_path')
            options = {'class_path': name, 'dict_kwargs': options}
        if options:
            self.config = self.parser.parse_object(
                {command: {'model': options}}, self.config
            )

    def instantiate_classes(self) -> None:
        """Build trainer, task and data; a mistake in their arguments is one sentence.

        Raises:
            CMRError: If a class cannot use what it was given.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('default')
            try:
                super().instantiate_classes()
            except Exception as error:
                if isinstance(reason_of(error), _MISTAKES) or is_of_others(error):
                    raise CMRError(explain(error)) from error
                raise
        for warning in caught:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; where no bar is drawn, such as into a pipe, it says a line per epoch."""
        trainer = self.config_init[str(self.subcommand)]['trainer']
        given = [type(each).__name__ for each in trainer.get('callbacks') or []]
        chosen = any('ProgressBar' in name for name in given)
        # Lightning draws on stdout.
        drawn = is_drawn() and (sys.stdout.isatty() or not is_watched())
        if drawn or chosen or trainer.get('enable_progress_bar') is not None:
            return super().instantiate_trainer(**kwargs)
        made = super().instantiate_trainer(**kwargs, enable_progress_bar=False)
        made.callbacks.append(EpochNotes())  # ty: ignore[missing-attribute]
        return made

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; what a disk refuses to a logger or callback of Lightning is one sentence, too.

        Raises:
            CMRError: If there is no last checkpoint to go on from.
            OSError: With the folder of the run, or the file that could not be written.
        """
        checkpoint = self.config[subcommand].get('ckpt_path')
        if subcommand != 'fit' and not checkpoint:
            self._warn_of_untrained(subcommand)
        if str(checkpoint) == 'last':
            self._check_last()
        ending: Any = signal.getsignal(signal.SIGTERM)
        try:
            with only_run(self.trainer) if subcommand == 'fit' else nullcontext():
                super()._run_subcommand(subcommand)
        except OSError as error:
            folder = Path(self.trainer.log_dir or self.trainer.default_root_dir)
            file = Path(str(error.filename or folder))
            removed = error.errno == errno.ENOENT and file.is_relative_to(folder)
            if not (is_full_or_closed(error) or removed):
                raise
            raise OSError(
                f'{file} could not be written ({error.strerror}), and the run has ended; '
                f'{disk_cure(file)}'
            ) from error
        finally:
            # Lightning leaves its own, which waits for a run, where a run fails while it ends.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ending)

    def _check_last(self) -> None:
        """Refuse to begin anew, as Lightning does where the folder of this run has no last checkpoint."""
        writers = self.trainer.checkpoint_callbacks
        found = [
            writer._find_last_checkpoints(self.trainer)
            for writer in writers
            if isinstance(writer, ModelCheckpoint)
        ]
        if not any(found):
            raise CMRError(
                '--ckpt_path last is looked for where this run writes, and is not there: name the file '
                'of the run, such as lightning_logs/version_0/checkpoints/last.ckpt'
            )

    def _warn_of_untrained(self, subcommand: str) -> None:
        """Say what is measured: scores look alike, whoever made the weights."""
        if any(weight.requires_grad for weight in self.model.parameters()):
            warnings.warn(
                f'{subcommand} has no checkpoint, so its weights are those with which a training '
                'begins: name a checkpoint with --ckpt_path',
                stacklevel=2,
            )

    def before_instantiate_classes(self) -> None:
        """Add checkpoint callbacks if the user named none, and a writer of whole checkpoints."""
        config = self.config[str(self.subcommand)]
        trainer = config['trainer']
        plugins = trainer.get('plugins') or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not plugins:  # two that write checkpoints exclude each other
            writer = f'{CheckpointFiles.__module__}.{CheckpointFiles.__qualname__}'
            trainer['plugins'] = [Namespace(class_path=writer, init_args=Namespace())]
        given = trainer.get('callbacks') or []
        given = given if isinstance(given, list) else [given]
        wants = trainer.get('enable_checkpointing') is not False
        if wants and not any('Checkpoint' in c['class_path'] for c in given):
            module, _, name = config['model']['class_path'].rpartition('.')
            task: type[BaseTask] = getattr(import_module(module), name)
            # Lightning's `save_last` copies the best one and leaves epochs without a better score out.
            kept = (
                {'monitor': task.monitor, 'mode': task.mode, 'filename': 'best'},
                {
                    'filename': 'last',
                    'save_on_train_epoch_end': True,
                    'enable_version_counter': False,
                },
            )
            trainer['callbacks'] = [
                *given,
                *(
                    Namespace(
                        class_path='lightning.pytorch.callbacks.ModelCheckpoint',
                        init_args=Namespace(**options),
                    )
                    for options in kept
                ),
            ]


def _options_in(given: Any, config: Namespace) -> dict[str, Any]:
    """Give the options of the task in a checkpoint; refuse one that no run can go on from.

    That it was made of some weights is left out: they would be fetched, and then replaced by its own.
    """
    path = str(given)
    if path == 'best':
        raise CMRError(
            '--ckpt_path best is known only to the process that trained: name the file, such as '
            'lightning_logs/version_0/checkpoints/best.ckpt'
        )
    if given is None or path in ('last', 'hpc') or '://' in path:
        return {}
    if not os.path.isfile(path):
        raise CMRError(f'there is no checkpoint {path}: check --ckpt_path')
    # Mapped, because the weights themselves may be large.
    found = load_plain(path, map_location='cpu', mmap=True)
    if not isinstance(found, dict) or 'state_dict' not in found:
        raise CMRError(
            f'{path} holds no state of a training: give a checkpoint that a trainer wrote'
        )
    options = found.get('hyper_parameters') or {}
    if not isinstance(options, dict):
        raise CMRError(f'{path} holds options of a task that are not a mapping')
    known = {*_classes(namespace_to_dict(config))}
    for name in tasks.__all__:
        cls = getattr(tasks, name)
        known |= {f'{tasks.__name__}.{name}', f'{cls.__module__}.{cls.__qualname__}'}
    if options and '_class_path' not in options:
        options = {'_class_path': _task_of(found, config, path), **options}
    for name in _classes(options):
        if name not in known:
            raise CMRError(
                f'{path} names the class {name!r:.80}, which would run its module: name it yourself, '
                'with --model or in YAML, if you trust it'
            )
    left_out = ('_instantiator', 'weights')
    return {name: value for name, value in options.items() if name not in left_out}


def _task_of(found: dict[Any, Any], config: Namespace, path: str) -> str:
    """Name the class of a checkpoint that was not trained by this command, but in Python.

    Raises:
        CMRError: If it is not one of a task of ours.
    """
    section = found.get(SECTION)
    name = section.get('task') if isinstance(section, dict) else None
    if not isinstance(name, str):
        raise CMRError(
            f'{path} is a checkpoint of another library, which no task can go on from: begin a new run '
            f'with its weights, --model.init_args.weights {path}'
        )
    named = (namespace_to_dict(config).get('model') or {}).get('class_path', '')
    return named if named.rpartition('.')[2] == name else f'{tasks.__name__}.{name:.80}'


def _compare(given: Any, kept: dict[str, Any], path: Any) -> None:
    """Refuse a checkpoint of another task; warn of options that it decides, not the user.

    Args:
        given: Section ``model`` of the configuration.
        kept: Options in the checkpoint, which replace those.
        path: The checkpoint.
    """
    if not given or '_class_path' not in kept:
        return
    name = given['class_path']
    if name.rpartition('.')[2] != kept['_class_path'].rpartition('.')[2]:
        raise CMRError(
            f'{path} is a checkpoint of {kept["_class_path"]}, and model is {name}: name the task that '
            'was trained, or begin a new run without --ckpt_path'
        )
    usual = defaults(name)
    for option, value in given.get('init_args', {}).items():
        stays = kept.get(option, value)
        plain = isinstance(value, int | float | str) and option in kept
        if plain and value not in (stays, usual.get(option)):
            warnings.warn(
                f'{option} stays {stays}, not {value}: {path} goes on with the options of the task that '
                'it was trained with',
                stacklevel=2,
            )


def _classes(options: Any) -> Iterator[Any]:
    """List what options name as classes, however deep."""
    left = [options]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from (value[k] for k in ('class_path', '_class_path') if k in value)
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value


def fit(args: Sequence[str]) -> Any:
    """Run LightningCLI.

    Args:
        args: Subcommand (fit, validate, test or predict) and its flags.

    Returns:
        The command line object, with ``model``, ``datamodule`` and ``trainer``.

    Raises:
        CMRError: If an argument is wrong.
        KeyboardInterrupt: If it is interrupted, which Lightning turns into exit code 1.
    """
    # "Seed set to 0" would stand before every mistake
    logging.getLogger('lightning.fabric.utilities.seed').setLevel(logging.WARNING)
    check_yaml(args)
    for option, value in given(args):
        path = Path(value).expanduser()
        if option in ('--config', '-c') and path.is_file():
            check_settings(path)
    try:
        chosen = type(_CLI.__name__, (_CLI,), {'typed': next(iter(args), '')})
        return chosen(
            model_class=BaseTask,
            parser_class=_Parser,
            datamodule_class=BaseDataModule,
            seed_everything_default=0,
            parser_kwargs={
                'version': __version__,
                'prog': 'torchgeo-cmr',
                # Subcommands take it from here.
                'formatter_class': _Help,
                **{name: {'epilog': EXAMPLES[name]} for name in chosen.subcommands()},
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={'overwrite': True},
            args=list(args),
        )
    except RuntimeError as error:
        if 'loading state_dict' not in str(error):
            raise
        raise CMRError(
            f'the checkpoint does not fit the task: {" ".join(str(error).split())}'
        ) from error
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
