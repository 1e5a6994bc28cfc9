"""Models on disk, for use, and training states on disk, for continuing.

A model is a folder: `model.safetensors` (weights) and `model.json` (what they are). The same description travels in
the header of the weights, and that one counts: a kill between the two files can never pair weights with the description
of others. A training state is one file, `checkpoint.pt`. All files are replaced atomically.
"""

import json
import math
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, read_json, write_json
from localblur.common.settings import Settings, validate
from localblur.training.networks.base import RestorationNetwork, parameter_count
from localblur.training.networks.table import network_entry

SCHEMA_VERSION = 1
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "model.json"
SKIPPING_NAME = "skipping.json"
"""How the model finds what is blurred; see `inference.model_skipping`."""
_HEADER_KEY = "localblur"
_STATE_FORMAT = "localblur-training-state"


class AveragedPart(Settings):
    """One of the models whose weights were averaged.

    Attributes:
        name: of its folder.
        share: of its weights in the average.
        step: how long it was trained in its last run, None when unknown.
        data: fingerprint of the pairs it was trained on there.
    """

    name: str
    share: float
    step: float | None = None
    data: str = ""


class ModelCard(Settings):
    """What a model folder says about its weights.

    Attributes:
        network, options: name in `NETWORKS` and all options, with which the module is rebuilt.
        recipe: the resolved training settings, empty when unknown.
        metrics: named figures of the model on the validation split; None where a figure was not a finite number.
        data_fingerprint: identifies the pairs the model was trained on.
        averaged: the models whose average this is; recipe and data are those of the last.
    """

    format: Literal["localblur-model"] = "localblur-model"
    schema_version: int = SCHEMA_VERSION
    network: str
    options: dict[str, Any]
    parameters: int
    recipe: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    data_fingerprint: str = ""
    averaged: tuple[AveragedPart, ...] = ()
    created: str = ""
    versions: dict[str, str] = Field(default_factory=dict)


def save_model(
    folder: Path,
    network_name: str,
    options: Mapping[str, Any],
    module: nn.Module,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, float],
    fingerprint: str,
    averaged: tuple[AveragedPart, ...] = (),
) -> ModelCard:
    """Write a model folder; an earlier model there is replaced atomically.

    Args:
        folder: created if needed.
        network_name, options: the entry of `NETWORKS` and the options `module` was built with.
        module: its weights are stored in float32.
        recipe: resolved training settings (plain values).
        metrics: figures of this model; infinite and NaN are stored as None.
        fingerprint: of the training data.
        averaged: the models whose average this is.
    """
    card = ModelCard(
        network=network_name,
        options=network_entry(network_name).resolve(options).model_dump(mode="json"),
        parameters=parameter_count(module),
        recipe=dict(recipe),
        metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
        data_fingerprint=fingerprint,
        averaged=averaged,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: metadata.version(name) for name in ("localblur", "torch")},
    )
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata={_HEADER_KEY: card.model_dump_json()}))
    write_json(folder / CARD_NAME, card.model_dump(mode="json"))
    return card


def load_model(folder: Path) -> tuple[RestorationNetwork, ModelCard]:
    """Read a model folder, or of a training run's folder its best (else last) model.

    Returns:
        The network on the CPU, in evaluation mode, and its card.

    Raises:
        LocalblurError: if there is no model, it is damaged, newer than this program, or of an unknown network, or if
            its weights do not fit its description.
    """
    folder = _model_folder(folder)
    card, weights = _read_weights(folder)
    if card.schema_version > SCHEMA_VERSION:
        raise LocalblurError(
            f"{folder} has schema version {card.schema_version}, this program reads up to {SCHEMA_VERSION}; update it"
        )
    with torch.device("meta"):  # no weights are drawn only to be replaced; the caller's random state stays as it is
        module = network_entry(card.network)(card.options)
    fit_weights(module, weights, str(folder), assign=True)
    return module.eval(), card


def fit_weights(module: nn.Module, weights: Mapping[str, torch.Tensor], origin: str, *, assign: bool = False) -> None:
    """Load `weights` into `module`; every missing, unexpected or misshapen key is an error, none is skipped.

    With `assign` the tensors become the module's own instead of being copied into those it has.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    misshapen = sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    if missing or unexpected or misshapen:
        first = (missing or unexpected or misshapen)[0]
        raise LocalblurError(
            f"{origin} holds the weights of another network: {len(missing)} missing, {len(unexpected)} unexpected and"
            f" {len(misshapen)} misshapen keys (first: {first}); use the network and options it was trained with"
        )
    module.load_state_dict(dict(weights), assign=assign)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state atomically; it may hold tensors, numbers, texts, lists and dicts, nothing else.

    Raises:
        LocalblurError: if it cannot be written; what was there before stays.
    """
    content = {"format": _STATE_FORMAT, "schema_version": SCHEMA_VERSION, **state}
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's own way of saying what the system said
            raise LocalblurError(
                f"cannot write {path}; is the disk full? ({' '.join(str(error).split())[:150]})"
            ) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state onto the CPU, without running any code from it.

    Raises:
        LocalblurError: if the file is damaged, something else, or newer than this program.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise LocalblurError(
            f"cannot read the training state {path} ({type(error).__name__}): it is damaged or something else;"
            " start again with --overwrite"
        ) from error
    if not isinstance(state, dict) or state.get("format") != _STATE_FORMAT:
        raise LocalblurError(f"{path} is not a training state of this program; choose another --output")
    version = state.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise LocalblurError(
            f"{path} has schema version {version}, this program reads up to {SCHEMA_VERSION}; update it"
        )
    for key, kind in (("schema_version", int), ("settings", dict)):
        if not isinstance(state.get(key), kind):
            raise LocalblurError(f"{path} is damaged, its {key} is missing or wrong; start again with --overwrite")
    return state


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / WEIGHTS_NAME).is_file():
            return candidate
    raise LocalblurError(f"no model in {folder}: need {WEIGHTS_NAME} and {CARD_NAME}, as train-lbag writes them")


def _read_weights(folder: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    path = folder / WEIGHTS_NAME
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER_KEY)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise LocalblurError(f"cannot read {path}: it is damaged or truncated ({error})") from error
    origin = folder / CARD_NAME if header is None else path
    try:
        values = read_json(origin) if header is None else json.loads(header)
    except json.JSONDecodeError as error:
        raise LocalblurError(f"cannot read the description in {path}, it is damaged: {error}") from error
    if not isinstance(values, dict):
        raise LocalblurError(f"the description in {origin} is damaged: a {type(values).__name__}, not a mapping")
    return validate(ModelCard, values, str(origin)), weights
