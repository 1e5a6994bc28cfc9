"""What runs a network on one window: torch in the number format asked for; `onnx_runtime` is the other one."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, Protocol

import psutil
import torch
import torch.nn.functional as F
from torch import nn

from localblur.common.allocator import freed_bytes, keep_freed_memory
from localblur.common.errors import LocalblurError
from localblur.training.networks.base import RestorationNetwork
from localblur.training.runtime import fastest_precision, is_out_of_memory

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

WORKING_COPIES = 28
"""Peak memory in units of the widest feature map; LBAG needs 20 to 26 at any width, with and without bf16."""

_PROBE_PX = 64
_NUMBER_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine(Protocol):
    """Something that restores windows.

    Attributes:
        size_multiple: windows begin at, and have, multiples of this.
        margin_px: context a window needs on each side.
        global_statistics: windows give another result than the whole image, see `RestorationNetwork`.
        device: where the work is done.
    """

    size_multiple: int
    margin_px: int
    global_statistics: bool
    device: torch.device

    @property
    def gated(self) -> bool:
        """Whether `run` returns a gate."""
        ...

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """Restore (B, 3, h, w): (B, 3, h, w) and, as a fourth channel, the gate; float32, on the device of `window`."""
        ...

    def find(self, window: torch.Tensor) -> torch.Tensor:
        """Where a window as `run` takes it is blurred, (B, 1, h, w) float32 in [0, 1], with less work if that can be.

        Not the gate that `run` returns: the one of the coarsest scale, enlarged. Only of engines that are `gated`.
        """
        ...

    def bytes_per_pixel(self) -> float:
        """Estimated peak memory per pixel of a window."""
        ...


class TorchEngine:
    """A network run by torch.

    Args:
        module: on the device it shall run on (`prepare`); its mode is restored after each window.
        precision: "auto" takes bf16 where the hardware multiplies it itself, else fp32; "fp16" needs a GPU. "int8" is
            not chosen here but made: see `localblur.training.inference.quantization`.
        compiled: let `torch.compile` make one program of the network; needs a C++ compiler, and pays for many windows
            of one size only.
    """

    def __init__(self, module: RestorationNetwork, precision: Precision = "fp32", *, compiled: bool = False) -> None:
        self._module = module
        self._forward: Any = torch.compile(module, dynamic=False) if compiled else module
        self.device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        if self.device.type == "cpu":
            keep_freed_memory()
        self.number_type = number_type(precision, self.device)
        self.size_multiple, self.margin_px = module.size_multiple, module.margin_px
        self.global_statistics = module.global_statistics
        self._gated: bool | None = None
        self._bytes_per_pixel: float | None = None

    @property
    def gated(self) -> bool:
        """Whether the network says where it saw blur; found out with a small picture."""
        if self._gated is None:
            self._gated = self._probe().shape[1] > 3
        return self._gated

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`.

        Raises:
            LocalblurError: if memory runs out, or the network returns NaN.
        """
        restored = self._computed(self._forward, window)
        parts = [restored.images[-1].float(), *(gate.float() for gate in restored.gates[-1:])]
        return self._checked(torch.cat(parts, dim=1)).to(window.device)

    def find(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`; raises as `run` does."""
        return enlarged(self._checked(self._computed(self._module.find_blur, window).float()), window)

    def _computed(self, work: Callable[[torch.Tensor], Any], window: torch.Tensor) -> Any:
        try:
            with evaluating(self._module), torch.inference_mode(), self._format():
                return work(window.to(self.device, torch.float32, memory_format=torch.channels_last))
        except RuntimeError as error:
            if is_out_of_memory(error):
                size = f"{window.shape[-1]}x{window.shape[-2]}"
                raise LocalblurError(f"not enough memory for a window of {size} px; use a smaller --tile") from error
            raise

    def _checked(self, result: torch.Tensor) -> torch.Tensor:
        if not bool(torch.isfinite(result).all()):
            reduced = self.number_type != torch.float32
            hint = "try --precision fp32" if reduced else "its weights are damaged or training diverged"
            raise LocalblurError(f"the network returned NaN or infinite values; {hint}")
        return result

    def bytes_per_pixel(self) -> float:
        """From the widest feature map seen while a small probe runs."""
        if self._bytes_per_pixel is None:
            self._bytes_per_pixel = WORKING_COPIES * self._widest()
        return self._bytes_per_pixel

    def _widest(self) -> float:
        """Bytes per pixel of the image."""
        area = _PROBE_PX**2
        widest = 3.0 * torch.float32.itemsize  # the image itself

        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal widest
            if isinstance(output, torch.Tensor):
                widest = max(widest, output.numel() * output.element_size() / area)

        hooks = [part.register_forward_hook(look) for part in self._module.modules() if not list(part.children())]
        compiled, self._forward = self._forward, self._module
        try:
            self._probe()
        finally:
            self._forward = compiled
            for hook in hooks:
                hook.remove()
        return widest

    def _probe(self) -> torch.Tensor:
        return self.run(torch.full((1, 3, _PROBE_PX, _PROBE_PX), 0.5))

    def _format(self) -> AbstractContextManager[Any]:
        if self.number_type == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.number_type)


class SelfEnsemble:
    """The mean over the eight turned and mirrored versions of each window; eight times the work.

    Reference:
        Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017, section 3.4.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.size_multiple, self.margin_px = engine.size_multiple, engine.margin_px
        self.global_statistics, self.device = engine.global_statistics, engine.device

    @property
    def gated(self) -> bool:
        """See `Engine`."""
        return self._engine.gated

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        total: torch.Tensor | None = None
        for turns in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(window.flip(-1) if mirrored else window, turns, (-2, -1))
                back = torch.rot90(self._engine.run(turned), -turns, (-2, -1))
                back = back.flip(-1) if mirrored else back
                total = back if total is None else total + back
        if total is None:
            raise ValueError("there are eight versions")
        return total / 8

    def find(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`; once, not eight times."""
        return self._engine.find(window)

    def bytes_per_pixel(self) -> float:
        """One version is held at a time."""
        return self._engine.bytes_per_pixel()


def prepare(module: RestorationNetwork, device: torch.device) -> RestorationNetwork:
    """Move a network to `device` in the memory layout convolutions like best; returns the same module."""
    # nn.Module.to is typed without memory_format for some torch versions
    moved: Any = module.to(device)
    moved.to(memory_format=torch.channels_last)
    return module.eval()


def enlarged(gate: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """A gate (B, 1, h, w) at the size of a window and where that lies."""
    return F.interpolate(gate, size=window.shape[-2:], mode="bilinear", align_corners=False).to(window.device)


def duplicate(module: RestorationNetwork) -> RestorationNetwork:
    """A copy with weights of its own."""
    return copy.deepcopy(module)


def number_type(precision: Precision, device: torch.device) -> torch.dtype:
    """The number type to compute in; "auto" takes bfloat16 only where the hardware multiplies it itself.

    What "int8" leaves in floating point is computed as with "auto".

    Raises:
        LocalblurError: if float16 is asked of a processor, which has no arithmetic for it.
    """
    if precision == "fp16" and device.type != "cuda":
        raise LocalblurError("--precision fp16 needs a GPU; use bf16, int8 or fp32 on a processor")
    return _NUMBER_TYPES[fastest_precision(device) if precision in ("auto", "int8") else precision]


def available_bytes(device: torch.device) -> int:
    """Memory that is free for windows on `device`, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available) + freed_bytes()


def resident_bytes() -> int:
    """Memory this process holds at the moment, without what it has freed."""
    return max(0, int(psutil.Process().memory_info().rss) - freed_bytes())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) inside, whatever mode it was in outside."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
