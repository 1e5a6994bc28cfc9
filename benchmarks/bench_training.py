"""Training: LBAG's loss and its whole step against the published formulation, plainly written; more with a GPU."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measure import Row, Section, Variant, side_by_side
from nine_fold_loss import nine_fold_objective

from localblur.training.networks.base import Restored
from localblur.training.networks.table import NETWORKS
from localblur.training.objectives.objective import Target, objective
from localblur.training.running.config import NetworkSettings, TrainingSettings, read_recipe
from localblur.training.running.updater import Updater
from localblur.training.runtime import Runtime, fastest_precision

BATCH, PATCH_PX = 2, 256
SCALES = (4, 2, 1)
FACT = """\
Convolutions take four fifths (AMX) to nine tenths of a step of lbag: its ratio is that of the processor's bf16 to its
fp32 arithmetic, 2.4 in processor time with AVX512-BF16 and 3.1 with AMX as measured on one machine of each."""
PUBLISHED = TrainingSettings.model_validate(read_recipe("lbag"))


def batch(count: int = BATCH) -> dict[str, torch.Tensor]:
    """Smooth random pictures, their blurred form, and a mask of a quarter of them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, PATCH_PX // 4, PATCH_PX // 4, generator=generator)
    sharp = F.interpolate(coarse, size=(PATCH_PX, PATCH_PX), mode="bicubic").clamp(0, 1)
    mask = torch.zeros(count, 1, PATCH_PX, PATCH_PX)
    mask[:, :, : PATCH_PX // 2, : PATCH_PX // 2] = 1
    blurred = torch.where(mask > 0, F.avg_pool2d(sharp, (1, 9), 1, (0, 4)), sharp)
    return {"blurred": blurred, "sharp": sharp, "mask": mask, "has_mask": torch.ones(count, dtype=torch.bool)}


def predicted(data: dict[str, torch.Tensor]) -> Restored:
    """What a network might return: each scale's input as a leaf, and gates."""
    sizes = [PATCH_PX // scale for scale in SCALES]
    images = [F.interpolate(data["blurred"], size=(size, size), mode="area").requires_grad_() for size in sizes]
    gates = [torch.full((BATCH, 1, size, size), 0.3, requires_grad=True) for size in sizes]
    return Restored(images, gates)


def fast_loss() -> Callable[[], Any]:
    """Value and gradient of the objective; the first call returns both. One thread, so that time is processor time."""
    torch.set_num_threads(1)
    data = batch()
    restored = predicted(data)

    def run() -> Any:
        value = objective(restored, Target(**data), PUBLISHED.objective).total
        return float(value.detach()), gradient(value, restored)

    return run


def nine_fold_loss() -> Callable[[], Any]:
    """The same in the published form."""
    torch.set_num_threads(1)
    data = batch()
    restored = predicted(data)

    def run() -> Any:
        value = nine_fold_objective(restored.images, restored.gates, data["sharp"], data["mask"])
        return float(value.detach()), gradient(value, restored)

    return run


def gradient(value: torch.Tensor, restored: Restored) -> Any:
    """With respect to the finest picture."""
    return torch.autograd.grad(value, [*restored.images, *restored.gates])[2].numpy()


def our_step(name: str) -> Callable[[], Any]:
    """A step of the recipe `lbag` with the network `name` as `train-lbag` makes it on this processor."""
    number_format = fastest_precision(torch.device("cpu"))
    settings = PUBLISHED.model_copy(
        update={"precision": number_format, "channels_last": number_format == "bf16", "network": network(name)}
    )
    updater, data = Updater(settings, Runtime("cpu"), fresh=True), batch()

    def run() -> Any:
        return float(updater.update(data, 0).values["loss"])

    return run


def device_step(device: str, count: int, number_format: str) -> Callable[[], Any]:
    """A step of the recipe `lbag` on a device, in bf16 with channels last or in float32 NCHW; returns loss and MiB."""
    settings = PUBLISHED.model_copy(update={"precision": number_format, "channels_last": number_format == "bf16"})
    runtime = Runtime(device)
    updater, data = Updater(settings, runtime, fresh=True), batch(count)

    def run() -> Any:
        # reading the loss waits for all that was asked of the device before, the last step's update included
        return float(updater.update(data, 0).values["loss"]), runtime.memory_mib()

    return run


def gpu_rows(rounds: int, device: str = "cuda", count: int = PUBLISHED.data.batch) -> list[Row]:
    """Steps of `lbag` on a GPU as `train-lbag` makes them there, against float32 NCHW; batches come from memory."""
    ways = [
        Variant(name="bf16, channels_last", prepare=device_step, arguments=(device, count, "bf16"), units=count),
        Variant(name="fp32, NCHW", prepare=device_step, arguments=(device, count, "fp32"), units=count),
    ]
    fast, plain = side_by_side(*ways, rounds=5 * rounds)
    speeds = [1 / measured.median for measured in (fast, plain)]
    note = (
        f"{speeds[0]:.0f} and {speeds[1]:.0f} images/s, {fast.result[1]:,.0f} and {plain.result[1]:,.0f} MiB on the"
        f" device; losses of the first step {fast.result[0]:.4f} and {plain.result[0]:.4f}"
    )
    what = f"training step of lbag on {device}, {count} x {PATCH_PX} px, per image"
    return [Row(what=what, ours=fast, other=plain, unit="ms", scale=1e3, note=note)]


def plain_step(name: str) -> Callable[[], Any]:
    """float32, NCHW, the nine-fold loss, a plain optimizer."""
    torch.manual_seed(PUBLISHED.seed)
    module, data = NETWORKS[name](), batch()
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=PUBLISHED.optimizer.lr)

    def run() -> Any:
        optimizer.zero_grad()
        restored = module(data["blurred"])
        loss = nine_fold_objective(restored.images, restored.gates, data["sharp"], data["mask"])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def network(name: str) -> Any:
    """Its settings, with its own options."""
    return NetworkSettings(name=name)


def run(rounds: int) -> Section:
    """Loss alone, then whole steps."""
    ours, published = side_by_side(
        Variant(name="one pass per selected shift", prepare=fast_loss),
        Variant(name="nine-fold", prepare=nine_fold_loss),
        rounds=3 * rounds,
    )
    largest = float(abs(ours.result[1] - published.result[1]).max() / abs(published.result[1]).max())
    note = (
        f"values {ours.result[0]:.5f} and {published.result[0]:.5f}; gradients differ by {largest:.0e} of the largest"
    )
    rows = [Row(what=f"loss with gradient, {BATCH} x {PATCH_PX} px, one thread", ours=ours, other=published, note=note)]
    number_format = fastest_precision(torch.device("cpu"))
    for name in ("lbag", "lbag-small"):
        fast, plain = side_by_side(
            Variant(name=f"train-lbag, {number_format}", prepare=our_step, arguments=(name,)),
            Variant(name="fp32, NCHW, nine-fold loss", prepare=plain_step, arguments=(name,)),
            rounds=rounds,
        )
        note = f"losses of the first step {fast.result:.4f} and {plain.result:.4f}"
        rows.append(Row(what=f"training step of {name}, {BATCH} x {PATCH_PX} px", ours=fast, other=plain, note=note))
    if torch.cuda.is_available():
        rows += gpu_rows(rounds)
    return Section(
        title="Training",
        text="LBAG's loss and training step against the published formulation on random pictures.",
        rows=rows,
        facts=[FACT],
    )
