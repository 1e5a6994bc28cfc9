"""Networks on a processor: as published (float32, NCHW, whole image) against how `deblur` runs them."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from measure import Measured, Row, Section, Variant, side_by_side

from localblur.acquisition.rig.settings import SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigSimulator
from localblur.common.errors import LocalblurError
from localblur.datasets.images import from_unit, read_image, read_plane, srgb_encode, to_tensor, to_unit, write_image
from localblur.datasets.scenes.photographs import bundled_photographs
from localblur.training.checkpoint import load_model
from localblur.training.inference import engine as engine_module
from localblur.training.inference.engine import Precision, TorchEngine, prepare
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.inference.quantization import calibration_pictures, quantize
from localblur.training.inference.restore import BLEND_PX, restore_pixels
from localblur.training.inference.selective import coarse_gate, restore_selected
from localblur.training.inference.skipping import SkipSettings
from localblur.training.inference.tiling import Tiling, apply_tiled, pad_to_multiple
from localblur.training.model_in_the_box import model_in_the_box
from localblur.training.networks.base import RestorationNetwork
from localblur.training.networks.table import NETWORKS
from localblur.training.runtime import fastest_precision

CPU = torch.device("cpu")
TILE_PX = 1024
FULL_SIZE = (2152, 1436)
SCENE_SEED = 4
"""Its motion covers an eighth of the picture."""
TOUCHED = 0.05


def random_network(name: str) -> RestorationNetwork:
    """Randomly initialised, the same in every process."""
    torch.manual_seed(0)
    return NETWORKS[name]({"identity_start": False}).eval()


def plain(name: str, height: int, width: int) -> Callable[[], Any]:
    """float32, NCHW, the whole image at once."""
    module, image = random_network(name), photograph(height, width)

    def run() -> Any:
        with torch.inference_mode():
            return module(image).images[-1].clamp(0, 1).numpy() * 255

    return run


def ours(name: str, height: int, width: int, precision: Precision) -> Callable[[], Any]:
    """channels_last, in the number format asked for."""
    return in_windows(made(random_network(name), precision), photograph(height, width), 0)


def large(precision: Precision, tile: int = 0, kept: bool = True) -> Callable[[], Any]:
    """A large photograph through the model in the box: as `deblur` does, or with freed memory handed back."""
    if not kept:
        engine_module.keep_freed_memory = lambda: False  # type: ignore[assignment]
    return in_windows(made(trained() or random_network("lbag-small"), precision), photograph(*FULL_SIZE[::-1]), tile)


def in_windows(engine: TorchEngine, image: torch.Tensor, tile: int) -> Callable[[], Any]:
    """In windows of `tile` pixels unless it is 0."""
    (height, width), multiple = image.shape[-2:], engine.size_multiple
    padded = pad_to_multiple(image, multiple)
    tiling = Tiling(tile=tile or max(padded.shape), margin=engine.margin_px, blend=BLEND_PX, multiple=multiple)
    return lambda: apply_tiled(engine.run, padded, tiling)[:, :3, :height, :width].clamp(0, 1).numpy() * 255


def made(module: RestorationNetwork, precision: Precision) -> TorchEngine:
    """An engine as `deblur` makes it."""
    prepare(module, CPU)
    return TorchEngine(quantize(module, calibration_pictures()) if precision == "int8" else module, precision)


def photograph(height: int, width: int) -> torch.Tensor:
    """A photograph at the wanted size, (1, 3, height, width)."""
    picture = read_image(bundled_photographs("test", frame_filling=True)[0])
    return to_tensor(to_unit(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)))[None]


def simulate(folder: Path) -> None:
    """A picture of the rig with moving objects, its sharp partner and the mask of what moved."""
    width, height = FULL_SIZE
    rig = resolve_rig(seed=SCENE_SEED, width=width, height=height)
    scene = SceneSettings(seed=SCENE_SEED, textures="test", coverage=0.15, objects=3, pause=0)
    truth = RigSimulator(rig, scene).shot(1).truth
    gain = 0.9 / float(np.percentile(truth.clean_sharp, 99.5))
    for name, light in (("blurred", truth.clean_blurred_on_sharp), ("sharp", truth.clean_sharp)):
        write_image(folder / f"{name}.png", from_unit(srgb_encode(light * gain), 8))
    write_image(folder / "mask.png", (255 * (truth.soft_extent > TOUCHED)).astype(np.uint8))


def on_scene(folder: Path, way: Literal["dense", "gate", "truth"], precision: Precision) -> Callable[[], Any]:
    """Restore the simulated picture: every pixel, where the network's coarse gate is open, or where the truth is.

    The coarse pass is made in both of the latter.
    """
    engine = made(trained() or random_network("lbag-small"), precision)
    pixels, mask = read_image(folder / "blurred.png"), read_plane(folder / "mask.png")
    settings = SkipSettings() if trained() is None else stored_skipping(model_in_the_box())

    def run() -> Any:
        if way == "dense":
            return restore_pixels(engine, pixels).pixels
        coarse = coarse_gate(engine, pixels, settings.reduction)
        if way == "truth":
            coarse = cv2.resize(mask, coarse.shape[::-1], interpolation=cv2.INTER_AREA)
        return restore_selected(engine, pixels, coarse, settings).pixels

    return run


def trained() -> RestorationNetwork | None:
    """The model in the box, None before there is one."""
    try:
        return load_model(model_in_the_box())[0]
    except LocalblurError:
        return None


def run(rounds: int) -> Section:
    """The networks at the sizes their users have, and what windows and skipping change."""
    auto = fastest_precision(CPU)
    rows = []
    precisions: tuple[Precision, ...] = ("int8", auto)
    # bytes are for residual blocks, which lbag-small has none of
    for name, height, width, formats in (("lbag", 512, 512, precisions), ("lbag-small", 720, 1280, (auto,))):
        *fast, slow = side_by_side(
            *(
                Variant(name=f"channels_last, {precision}", prepare=ours, arguments=(name, height, width, precision))
                for precision in formats
            ),
            Variant(name="NCHW, fp32", prepare=plain, arguments=(name, height, width)),
            rounds=rounds,
        )
        for found in fast:
            note = f"PSNR between: {psnr(found.result, slow.result):.1f} dB"
            rows.append(Row(what=f"{name}, {width}x{height}", ours=found, other=slow, note=note))
    rows += large_rows(rounds, auto)
    rows += skipping_rows(rounds, auto)
    return Section(
        title="Inference",
        text="Randomly initialised networks on a photograph; skipping with the model in the box, where there is one, on"
        " a picture of the simulated rig. int8 computes the residual blocks in bytes.",
        rows=rows,
    )


def large_rows(rounds: int, precision: Precision) -> list[Row]:
    """A large picture at once: against freed memory handed back after every layer, and against windows."""
    whole, handed_back, tiled = side_by_side(
        Variant(name="at once, freed memory kept", prepare=large, arguments=(precision,)),
        Variant(name="freed memory handed back", prepare=large, arguments=(precision, 0, False)),
        Variant(name=f"windows of {TILE_PX} px", prepare=large, arguments=(precision, TILE_PX)),
        rounds=rounds,
    )
    largest = float(np.abs(tiled.result - whole.result).max())
    notes = {handed_back.name: "", tiled.name: f"{precision}; largest difference: {largest:.2f} of 255"}
    what = f"model in the box, {FULL_SIZE[0]}x{FULL_SIZE[1]}"
    return [Row(what=what, ours=whole, other=other, note=notes[other.name]) for other in (handed_back, tiled)]


def skipping_rows(rounds: int, precision: Precision) -> list[Row]:
    """Skipping against restoring every pixel: with a perfect gate, and with the network's own if it is trained."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder)
        ways: tuple[Literal["truth", "gate", "dense"], ...]
        ways = ("truth", "gate", "dense") if trained() is not None else ("truth", "dense")
        measured = dict(
            zip(
                ways,
                side_by_side(
                    *(Variant(name=way, prepare=on_scene, arguments=(folder, way, precision)) for way in ways),
                    rounds=rounds,
                ),
                strict=True,
            )
        )
        sharp, blurred = read_image(folder / "sharp.png"), read_image(folder / "blurred.png")
        mask = read_plane(folder / "mask.png") > 127
    dense = measured["dense"]
    names = {"truth": "skipping by a perfect gate", "gate": "skipping by the network's gate"}
    return [_skipping_row(measured[way], dense, names[way], sharp, blurred, mask) for way in ways if way != "dense"]


def _skipping_row(ours: Measured, dense: Measured, what: str, sharp: Any, blurred: Any, mask: Any) -> Row:
    loss = psnr(dense.result[mask], sharp[mask]) - psnr(ours.result[mask], sharp[mask])
    untouched = float((ours.result == blurred).all(axis=2)[~mask].mean())
    return Row(
        what=f"{what}, {FULL_SIZE[0]}x{FULL_SIZE[1]}",
        ours=ours,
        other=dense,
        note=f"{mask.mean():.1%} blurred; weighted PSNR: {loss:.3f} dB lost; {untouched:.1%} of the sharp kept",
    )


def psnr(image: Any, reference: Any) -> float:
    """PSNR in dB of values from 0 to 255."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
