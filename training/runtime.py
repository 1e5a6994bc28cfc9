"""The machine a run computes on: device, processes, number format, polite stops.

Everything that is peculiar about accelerate is kept here. It starts the processes' communication (torchrun), places and
wraps the model, and reduces over processes. It is not given the number format (its choice is global to the process and
cannot be changed), the optimizer (which it would only wrap for float16), nor the data loader (whose order then depends
on the global random state, so that a resumed run differs). It is imported when a run begins: that takes a second, which
commands that only want a device do not spend.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any, Literal

import psutil
import torch
from torch import nn

from localblur.common.allocator import keep_freed_memory
from localblur.common.errors import LocalblurError

Precision = Literal["fp32", "bf16"]
TrainingPrecision = Literal["fp32", "bf16", "fp16"]
"""float16 only in training, which scales the loss; to run a network bfloat16 is as fast and cannot overflow."""

_MIB = 1 << 20


class Runtime:
    """One process of a run.

    Attributes:
        device: where tensors live.
        rank, ranks: this process, and how many there are.
        main: whether this process writes files.
        first_here: whether it is the first on its machine.
    """

    def __init__(self, device: str = "auto") -> None:
        wanted = resolve_device(device)
        if wanted.type == "cuda" and wanted.index is not None:
            torch.cuda.set_device(wanted)
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=wanted.type == "cpu", mixed_precision="no")
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.ranks: int = self._accelerator.num_processes
        self.main: bool = self._accelerator.is_main_process
        self.first_here: bool = self._accelerator.is_local_main_process
        if self.device.type == "cpu":
            keep_freed_memory()

    def wrap(self, module: nn.Module) -> nn.Module:
        """Place `module` on the device; with several processes, average their gradients."""
        wrapped: nn.Module = self._accelerator.prepare_model(module)
        return wrapped

    def apart(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Within this context gradients of a wrapped model stay in their process: more of them will be added."""
        context: AbstractContextManager[Any] = self._accelerator.no_sync(model)
        return context

    def average_gradients(self, module: nn.Module) -> None:
        """Average the gradients of a module that is not wrapped; all processes must ask."""
        if self.ranks == 1:
            return
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        mean = self._accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
        for gradient, values in zip(gradients, mean.split([item.numel() for item in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    def everywhere(self, flag: torch.Tensor) -> bool:
        """Whether the boolean tensor `flag` is true on every process."""
        if self.ranks > 1:
            flag = self._accelerator.reduce(flag.float(), reduction="mean") > 1 - 0.5 / self.ranks
        return bool(flag)

    def largest(self, value: int) -> int:
        """The largest `value` of all processes; all must ask."""
        if self.ranks == 1:
            return value
        return int(self._accelerator.gather(torch.tensor([value], device=self.device)).max())

    def gathered(self, own: list[Any]) -> list[Any]:
        """The items of all processes, one process after another; all must ask, and all get them."""
        if self.ranks == 1:
            return own
        from accelerate.utils import gather_object

        items: list[Any] = gather_object(own)
        return items

    def memory_mib(self) -> float:
        """The most memory tensors have taken on a GPU so far; on a processor what the process holds now."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / _MIB
        return float(psutil.Process().memory_info().rss) / _MIB

    def autocast(self, precision: TrainingPrecision) -> AbstractContextManager[Any]:
        """The context a forward pass runs in."""
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if precision == "bf16" else torch.float16)

    def isolated_random(self) -> AbstractContextManager[None]:
        """Within this context the run may seed torch; afterwards the caller's random state is as it was."""
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def random_state(self) -> list[dict[str, torch.Tensor]]:
        """Torch's random state of every process, by rank; all processes must ask."""
        own = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(self.device)
        return self.gathered([own])

    def set_random_state(self, states: list[dict[str, torch.Tensor]]) -> None:
        """Restore what `random_state` gave; a process that did not exist then keeps its fresh state."""
        if self.rank < len(states):
            torch.set_rng_state(states[self.rank]["cpu"])
            if self.device.type == "cuda" and "cuda" in states[self.rank]:
                torch.cuda.set_rng_state(states[self.rank]["cuda"], self.device)

    def wait(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()


class StopRequest:
    """True once Ctrl-C or a supervisor's SIGTERM asked for an end."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def remember(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: ask politely; a second Ctrl-C ends at once, a second SIGTERM (torchrun's own) does not."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request, so that a step is never cut in half."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts(_worker: int) -> None:
    """Loader workers leave Ctrl-C and SIGTERM, which reach a whole group, to the main process, which ends them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def resolve_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; one that is not there is a `LocalblurError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LocalblurError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise LocalblurError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise LocalblurError(f"device {name!r} is not there: {count} CUDA devices found; use --device cpu or auto")
    return device


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch means that memory has run out; for a processor's it has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def fastest_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it natively, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    try:
        capabilities = torch.cpu.get_capabilities()
    except AttributeError:  # torch before 2.10
        return "fp32"
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"
