"""A network as an ONNX file that takes pictures of any size, checked against torch.

The file's metadata says what a program needs to know to run it: see `ExportedModel`.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.training.checkpoint import ModelCard
from localblur.training.inference.engine import duplicate
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.nafnet import ChannelMean

OPSET = 18
TOLERANCE = 1e-4
CHECK_SIZES = ((64, 96), (128, 128), (160, 224))
"""Height and width of the random pictures with which the file is compared with torch; multiples of every network's.

A network that averages over windows is compared above them too, see `_check_sizes`.
"""
METADATA_KEY = "localblur"
_GPU_PROVIDER = "CUDAExecutionProvider"
INPUT, IMAGE, GATE, COARSE_GATE = "blurred", "restored", "gate", "coarse_gate"


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What an exported file says about itself; the first three as in `RestorationNetwork`.

    Attributes:
        gated: there is a second output, the gate.
        finds_early: there is a third one, the gate of the coarsest scale, for which most of the work is not needed.
        network, parameters: of the model's card.
        skipping: the model's own settings for finding blur, see `SkipSettings`; empty for the program's.
    """

    size_multiple: int
    margin_px: int
    global_statistics: bool
    gated: bool
    network: str
    parameters: int
    finds_early: bool = False
    skipping: dict[str, Any] = field(default_factory=dict)


class _Outputs(nn.Module):
    """A network that returns the finest image as a plain tensor, and its gate and the coarsest where it has them."""

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, blurred: torch.Tensor) -> tuple[torch.Tensor, ...]:
        restored: Restored = self.network(blurred)
        return restored.images[-1], *restored.gates[-1:], *restored.gates[: len(restored.gates) > 1]


def import_onnx() -> tuple[Any, Any]:
    """The modules `onnx` and `onnxruntime`, or a `LocalblurError` that says what to install."""
    try:
        # torch needs onnxscript for exporting
        onnx, onnxruntime, _ = (import_module(name) for name in ("onnx", "onnxruntime", "onnxscript"))
    except ImportError as error:
        raise LocalblurError(f"ONNX needs the onnx extra ({error}): pip install 'localblur[onnx]'") from error
    return onnx, onnxruntime


def export_onnx(
    module: RestorationNetwork, card: ModelCard, path: Path, skipping: SkipSettings | None = None
) -> dict[tuple[int, int], float]:
    """Write `module` as an ONNX file and compare it with torch.

    Args:
        module, card: see `load_model`.
        path: the file.
        skipping: how the file's user shall find blur; None for the program's own way.

    Returns:
        For each height and width of `CHECK_SIZES`, and one larger than every window: the largest absolute difference of
        any output.

    Raises:
        LocalblurError: if ONNX is not installed, torch cannot express the network in it, or the file differs from torch
            by more than `TOLERANCE`; then nothing is written.
    """
    onnx, _ = import_onnx()
    outputs = _Outputs(duplicate(module).cpu()).eval()
    multiple = module.size_multiple
    example = torch.rand(1, 3, *CHECK_SIZES[0], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        names = [IMAGE, GATE, COARSE_GATE][: len(outputs(example))]
    described = ExportedModel(
        size_multiple=multiple,
        margin_px=module.margin_px,
        global_statistics=module.global_statistics,
        gated=GATE in names,
        network=card.network,
        parameters=card.parameters,
        finds_early=COARSE_GATE in names,
        skipping={} if skipping is None else skipping.model_dump(mode="json"),
    )
    shapes = {
        2: multiple * torch.export.Dim("h", min=1, max=8192),
        3: multiple * torch.export.Dim("w", min=1, max=8192),
    }
    program = _convert(outputs, example, shapes, names, card.network)
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(asdict(described))
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
        return _compare(outputs, temporary, _check_sizes(module))


def _check_sizes(module: RestorationNetwork) -> list[tuple[int, int]]:
    """`CHECK_SIZES`, and a picture that no window of `ChannelMean` spans, where there are any."""
    window_px = max((part.window_px for part in module.modules() if isinstance(part, ChannelMean)), default=0)
    multiple = module.size_multiple
    above = window_px // multiple + 1
    return [*CHECK_SIZES, *([(above * multiple, (above + 1) * multiple)] if window_px else [])]


def _convert(outputs: _Outputs, example: torch.Tensor, shapes: dict[int, Any], names: list[str], network: str) -> Any:
    silenced = logging.root.manager.disable
    # both are about torch's own use of torch, and of packages that are not needed
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.onnx.export(
                outputs,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise LocalblurError(f"{network} cannot be exported: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.disable(silenced)


def _compare(outputs: _Outputs, path: Path, sizes: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    session = open_session(path)
    rng = np.random.default_rng(0)
    differences: dict[tuple[int, int], float] = {}
    for size in sizes:
        image = rng.random((1, 3, *size), dtype=np.float32)
        with torch.inference_mode():
            expected = outputs(torch.from_numpy(image))
        found: Sequence[npt.NDArray[Any]] = session.run(None, {INPUT: image})
        differences[size] = max(
            float(np.abs(one - other.numpy()).max()) for one, other in zip(found, expected, strict=True)
        )
    worst = max(differences.values())
    if not worst <= TOLERANCE:
        raise LocalblurError(f"the exported file differs from torch by {worst:.1e}, allowed are {TOLERANCE:.0e}")
    return differences


def has_gpu_runtime() -> bool:
    """Whether the onnxruntime that is installed runs on a GPU; raises as `import_onnx`."""
    _, onnxruntime = import_onnx()
    return _GPU_PROVIDER in onnxruntime.get_available_providers()


def open_session(path: Path, *, gpu: bool = False) -> Any:
    """An onnxruntime session of a file.

    Raises:
        LocalblurError: if ONNX is not installed, or the file is missing or damaged.
    """
    if not path.is_file():
        raise LocalblurError(f"no ONNX file {path}; make one with export-model")
    return _session(str(path), str(path), gpu)


def open_partial_session(path: Path, output: str, *, gpu: bool = False) -> Any:
    """An onnxruntime session of what one output needs; onnxruntime itself computes all whatever is asked for."""
    onnx, _ = import_onnx()
    part = onnx.utils.Extractor(onnx.load(str(path))).extract_model([INPUT], [output])
    return _session(part.SerializeToString(), str(path), gpu)


def _session(model: str | bytes, name: str, gpu: bool) -> Any:
    _, onnxruntime = import_onnx()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = [_GPU_PROVIDER] if gpu else []
    missing = set(wanted) - set(onnxruntime.get_available_providers())
    if missing:
        raise LocalblurError("this onnxruntime has no GPU support; use --device cpu, or install onnxruntime-gpu")
    # with their threads spinning between windows, other programs would wait
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(model, options, providers=[*wanted, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises kinds of its own
        raise LocalblurError(f"cannot read {name} as an ONNX model: {' '.join(str(error).split())[:200]}") from error
