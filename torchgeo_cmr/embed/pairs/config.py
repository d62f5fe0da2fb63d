"""The data of a training run, opened again from its YAML."""

import os
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, get_loader
from torchgeo.datamodules import BaseDataModule

# Data modules and datasets that are imported can be named without their path.
import torchgeo_cmr.datamodules
import torchgeo_cmr.datasets  # noqa: F401
from torchgeo_cmr.errors import CMRError, RasterError
from torchgeo_cmr.yaml_size import check_yaml_file
from torchgeo_cmr.yaml_text import check_settings


def open_data(path: str | os.PathLike[str]) -> BaseDataModule:
    """Open the data module that the YAML of a training run describes.

    Takes what ``torchgeo-cmr fit --config`` takes, and the ``config.yaml`` that it writes
    next to its logs, in which flags of the command line are settled. Only ``data`` is read.

    Args:
        path: The YAML file.

    Returns:
        The data module; nothing is read yet.

    Raises:
        RasterError: If the file is not there, is not YAML, stands for more values than it shows, has no ``data``, or its
            arguments are not those of the data module.
    """
    try:
        if os.path.exists(path):
            check_yaml_file(Path(path), RasterError)
            check_settings(Path(path), RasterError, example='data')
        settings = get_loader('yaml')(Path(path).read_text(encoding='utf-8'))
    except CMRError:
        raise
    except OSError as error:
        raise RasterError(
            f'{path} cannot be read: name the YAML of a training run'
        ) from error
    except Exception as error:  # of whichever YAML library jsonargparse found
        raise RasterError(
            f'{path} is not YAML ({" ".join(str(error).split())}): give the file that '
            'torchgeo-cmr fit takes'
        ) from error
    if not isinstance(settings, dict) or not settings.get('data'):
        raise RasterError(
            f'{path} has no section `data`: give the file that torchgeo-cmr fit takes'
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument('--data', type=BaseDataModule, required=True)
    # jsonargparse renamed it in 4.49.
    make = getattr(parser, 'instantiate', None) or parser.instantiate_classes
    try:
        made: Any = make(parser.parse_object({'data': settings['data']}))
    except CMRError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        raise RasterError(
            f'the section `data` of {path} cannot be used: {" ".join(str(error).split())}'
        ) from error
    return made.data
