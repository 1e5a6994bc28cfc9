"""A model's own settings for finding blur, measured after training and kept beside its weights."""

import hashlib
import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.common.settings import Settings, validate
from localblur.training.checkpoint import SKIPPING_NAME, WEIGHTS_NAME
from localblur.training.inference.skipping import SkipSettings
from localblur.training.published_weights import named

_log = logging.getLogger(__name__)


class StoredSkipping(Settings):
    """What the file says.

    Attributes:
        weights_sha256: of the file of weights the settings were measured with; those of other weights say nothing.
        settings: how `deblur` and `evaluate-deblur --selective` find what is blurred.
        measured: what they were chosen by, named figures.
    """

    format: Literal["localblur-skipping"] = "localblur-skipping"
    schema_version: Literal[1] = 1
    weights_sha256: str
    settings: SkipSettings
    measured: dict[str, float] = Field(default_factory=dict)


def stored_skipping(model: Path) -> SkipSettings:
    """The settings of a model or run folder; the program's where the folder has none, or those of other weights.

    Raises:
        LocalblurError: if the file is damaged.
    """
    stored = read_skipping(model)
    return SkipSettings() if stored is None else stored.settings


def read_skipping(model: Path) -> StoredSkipping | None:
    """What was measured of a model or run folder's weights; None where that was never done, or of other weights.

    Raises:
        LocalblurError: if the file is damaged.
    """
    folder = weights_folder(model)
    if folder is None or not (folder / SKIPPING_NAME).is_file():
        return None
    path = folder / SKIPPING_NAME
    values = read_json(path)
    if not isinstance(values, dict):
        raise LocalblurError(f"{path} is damaged: a {type(values).__name__}, not a mapping; remove it")
    stored = validate(StoredSkipping, values, str(path))
    if stored.weights_sha256 != _sha256(folder):
        _log.warning("%s was measured with other weights and is not used; measure again or remove it", path)
        return None
    return stored


def store_skipping(model: Path, settings: SkipSettings, measured: dict[str, float]) -> Path:
    """Write the settings beside the weights of a model or run folder; returns the file.

    Raises:
        LocalblurError: if there is no model.
    """
    folder = weights_folder(model)
    if folder is None:
        raise LocalblurError(f"no model in {model} to write {SKIPPING_NAME} beside; give a model or run folder")
    stored = StoredSkipping(weights_sha256=_sha256(folder), settings=settings, measured=measured)
    write_json(folder / SKIPPING_NAME, stored.model_dump(mode="json"))
    return folder / SKIPPING_NAME


def weights_folder(model: Path) -> Path | None:
    """Where `open_model` finds the weights of a folder."""
    model = named(model)
    return next((place for place in (model, model / "best", model / "last") if (place / WEIGHTS_NAME).is_file()), None)


def _sha256(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
