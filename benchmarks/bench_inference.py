"""LBAG on a processor: as published (float32, NCHW, whole image) against how `deblur` runs it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import Row, Section, Variant, side_by_side

from localblur.datasets.images import to_tensor, to_unit
from localblur.datasets.photographs import bundled_photographs
from localblur.training.inference import prepare, restore
from localblur.training.networks.table import NETWORKS
from localblur.training.runtime import fastest_precision

CPU = torch.device("cpu")
TILE_PX = 512


def plain(name: str, height: int, width: int) -> Callable[[], Any]:
    """float32, NCHW, the whole image at once."""
    torch.manual_seed(0)
    module = NETWORKS[name]({"identity_start": False}).eval()
    image = picture(height, width)

    def run() -> Any:
        with torch.inference_mode():
            return module(image).images[-1].clamp(0, 1).numpy()

    return run


def ours(name: str, height: int, width: int, tile: int | str = "none") -> Callable[[], Any]:
    """channels_last, bf16 where the processor has it."""
    torch.manual_seed(0)
    module = prepare(NETWORKS[name]({"identity_start": False}), CPU)
    image = picture(height, width)
    return lambda: restore(module, image, tile=tile, precision="auto").numpy()


def picture(height: int, width: int) -> torch.Tensor:
    """A photograph at the wanted size, (1, 3, height, width)."""
    import cv2

    from localblur.datasets.images import read_image

    photograph = read_image(bundled_photographs("test", frame_filling=True)[0])
    return to_tensor(to_unit(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC)))[None]


def run(rounds: int) -> Section:
    """Both networks at the sizes their users have."""
    number_format = fastest_precision(CPU)
    rows = []
    for name, height, width in (("lbag", 512, 512), ("lbag-small", 720, 1280)):
        fast, slow = side_by_side(
            Variant(name=f"channels_last, {number_format}", prepare=ours, arguments=(name, height, width)),
            Variant(name="NCHW, fp32", prepare=plain, arguments=(name, height, width)),
            rounds=rounds,
        )
        decibel = psnr(fast.result, slow.result)
        rows.append(
            Row(what=f"{name}, {width}x{height}", ours=fast, other=slow, note=f"PSNR between: {decibel:.1f} dB")
        )
    tiled, whole = side_by_side(
        Variant(name=f"windows of {TILE_PX} px", prepare=ours, arguments=("lbag-small", 1080, 1920, TILE_PX)),
        Variant(name="whole image", prepare=ours, arguments=("lbag-small", 1080, 1920)),
        rounds=rounds,
    )
    largest = float(np.abs(tiled.result - whole.result).max()) * 255
    rows.append(
        Row(what="lbag-small, 1920x1080", ours=tiled, other=whole, note=f"largest difference: {largest:.2f} of 255")
    )
    return Section(
        title="Inference",
        text="Randomly initialised networks on a photograph. Windows trade time (their margins) for memory.",
        rows=rows,
    )


def psnr(image: Any, reference: Any) -> float:
    """PSNR in dB of arrays in [0, 1]."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)
