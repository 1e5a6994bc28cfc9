"""Weights as the networks' authors publish them: read, unwrapped, and fitted without a key left over.

The networks carry the published attribute names, so that what remains is the wrapping: `model`, `params`, `state_dict`,
`G` around the weights, `module.` before every name (DataParallel), and statistics that were stored but never used.
"""

import fnmatch
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import ModelCard, fit_weights, load_model
from localblur.training.model_in_the_box import NAME as BOX
from localblur.training.model_in_the_box import model_in_the_box
from localblur.training.networks.base import RestorationNetwork, parameter_count
from localblur.training.networks.lbag import LBAG
from localblur.training.networks.table import NETWORKS, network_entry

_WRAPPERS = ("state_dict", "params", "params_ema", "model", "G")
_PREFIXES = ("module.", "model.")

_NEVER_USED: dict[str, tuple[str, ...]] = {"deblurgan": (".running_mean", ".running_var", ".num_batches_tracked")}
"""Ends of names that published files of a network hold and the published network does not use."""

_HEADS = ("ConvsOut.0.main.0", "ConvsOut.1.main.0", "feat_extract.5.main.0")


def open_model(path: Path, network: str | None = None) -> tuple[RestorationNetwork, ModelCard]:
    """A model to use, wherever it is from.

    Args:
        path: a model or run folder of this program, or a file with published weights; `model-in-the-box` is the model
            that comes with the package.
        network: the name in `NETWORKS` of a file's network, as published; a folder knows its own.

    Returns:
        The network on the CPU, in evaluation mode, and its card.

    Raises:
        LocalblurError: as `load_model` and `load_published`, and if the name is missing or not that of the folder.
    """
    path = named(path)
    if path.is_file():
        if network is None:
            raise LocalblurError(
                f"{path} does not say which network it is of; name it with --network: {', '.join(NETWORKS)}"
            )
        module = load_published(network, path)
        options = network_entry(network).resolve().model_dump(mode="json")
        return module, ModelCard(network=network, options=options, parameters=parameter_count(module))
    module, card = load_model(path)
    if network not in (None, card.network):
        raise LocalblurError(f"{path} holds a model of {card.network}, not of {network}; leave out --network")
    return module, card


def named(path: Path) -> Path:
    """The folder that `model-in-the-box` stands for; any other path is what it says.

    Raises:
        LocalblurError: if something here has that name, too.
    """
    if str(path) != BOX:
        return path
    if path.exists():
        raise LocalblurError(
            f"{BOX} is the name of the model that comes with the program, and {path.resolve()} exists;"
            " give its whole path"
        )
    return model_in_the_box()


def origin(path: str | Path) -> str:
    """What to call a file or folder of weights in a text that others read, wherever it lay.

    A model in a run's folder is named with the run.
    """
    parts = PureWindowsPath(path).parts  # knows the separators of both systems
    return "/".join(parts[-2:] if parts[-1] in ("best", "last") else parts[-1:])


def load_published(name: str, path: Path, options: Mapping[str, Any] | None = None) -> RestorationNetwork:
    """Build the network `name` with the weights in a file its authors published.

    Args:
        name: of `NETWORKS`.
        path: a file of torch (`.pth`, `.pt`, `.pkl`, `.ckpt`) or safetensors.
        options: in which the network departs from the published one, as it was trained.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        LocalblurError: if the file cannot be read or holds more than data, or any key is missing, unexpected or
            misshapen.
    """
    with torch.device("meta"):  # no weights are drawn only to be replaced
        network = network_entry(name)(options)
    fit_weights(network, _named_as_in(network, name, read_weights(path)), str(path), assign=True)
    return network.eval()


class Start(NamedTuple):
    """What a network did not get whole from the weights it begins with, by name.

    Attributes:
        expanded: heads whose colours were copied and whose gates are fresh.
        fresh: what kept its fresh values because the caller named it.
        unused: what the file holds, the caller named and the network has no place for.
    """

    expanded: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def start_from(network: RestorationNetwork, name: str, path: Path, but: Sequence[str] = ()) -> Start:
    """Give a fresh network weights to train on: fine-tuning, or LBAG+ from the weights of MIMO-UNet+.

    The heads of LBAG predict a gate before the three colours. From weights of a MIMO-UNet, whose heads lack it, the
    colours' rows are copied and the gate's rows keep their fresh values. Every other key must fit, or be named.

    Args:
        network: as built by the entry `name` of `NETWORKS`, on any device; changed in place.
        path: a published file, or a model or run folder of this program; `model-in-the-box` is that of the package.
        but: names, or patterns such as `heads.*`, of weights that are not taken from the file, whether it has them or
            not.

    Raises:
        LocalblurError: as `load_published`, and if one of `but` names nothing; the network is then unchanged.
    """
    path = named(path)
    weights = load_model(path)[0].state_dict() if path.is_dir() else read_weights(path)
    weights = _named_as_in(network, name, weights)
    own = network.state_dict()
    for pattern in but:
        if not any(_named(key, (pattern,)) for key in (*own, *weights)):
            raise LocalblurError(
                f"initial_weights_except: {pattern!r} names no weight of {name} or {path.name} (they have names like"
                f" {next(iter(own))})"
            )
    kept = {key: value for key, value in weights.items() if not _named(key, but)}
    expanded: tuple[str, ...] = ()
    if isinstance(network, LBAG):
        kept, expanded = _with_gates(kept, own)
    fresh = tuple(key for key in own if _named(key, but))
    fit_weights(network, kept | {key: own[key] for key in fresh}, str(path))
    return Start(expanded, fresh, tuple(key for key in weights if _named(key, but) and key not in own))


def _named(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Named tensors, in float32 on the CPU, of a file of torch or safetensors; no code in it is run.

    Raises:
        LocalblurError: if the file is missing, damaged, holds other objects than data, or no weights.
    """
    if not path.is_file():
        raise LocalblurError(f"no weights at {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LocalblurError(
            f"{path} is damaged, or holds Python objects beside its weights, which could run code; if you trust it,"
            " save its state_dict alone with torch.save, or as safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise LocalblurError(f"cannot read weights from {path} ({type(error).__name__}): it is damaged") from error
    weights = _unwrapped(content, path)
    return {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def _unwrapped(content: Any, path: Path) -> dict[str, torch.Tensor]:
    while isinstance(content, Mapping):
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            return {str(key): value for key, value in content.items()}
        inside = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inside:
            keys = ", ".join(str(key) for key in list(content)[:5]) or "nothing"
            raise LocalblurError(
                f"no weights found in {path}: it holds {keys}; looked for named tensors, plain or under"
                f" {', '.join(_WRAPPERS)}"
            )
        content = content[inside[0]]
    raise LocalblurError(f"no weights found in {path}: it holds a {type(content).__name__}, not named tensors")


def _named_as_in(
    network: RestorationNetwork, name: str, weights: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights without prefixes that all of them have and the network's have not, and without what it never uses."""
    own = network.state_dict().keys()
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in weights) and not any(key.startswith(prefix) for key in own):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    unused = _NEVER_USED.get(name, ())
    return {key: value for key, value in weights.items() if not key.endswith(unused)}


def _with_gates(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Heads of three colours to heads of gate and colours; heads that have a gate stay as they are."""
    widened = dict(weights)
    fresh: list[str] = []
    for key in (f"{head}.{part}" for head in _HEADS for part in ("weight", "bias")):
        if key in weights and weights[key].shape[1:] == own[key].shape[1:] and weights[key].shape[0] == 3:
            gate = own[key][:1]
            widened[key] = torch.cat([gate, weights[key].to(gate.device)])
            fresh.append(f"{key}[0]")
    return widened, tuple(fresh)
