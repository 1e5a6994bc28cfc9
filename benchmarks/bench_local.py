"""Pairs without video: time of a pair beside whole-frame compositing, and beside blurring RGBA by a kernel."""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import kornia
import numpy as np
import torch
from measure import Row, Section, Variant, side_by_side

from localblur.datasets.images import FloatArray, to_array, to_tensor
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.light.realism import RealismSettings
from localblur.datasets.local.blur import END, START, LocalBlurSettings, blur_objects, patch_sprite, place_objects
from localblur.datasets.local.pairs import LocalSynthesisSettings
from localblur.datasets.local.synthesis import synthesize_local
from localblur.datasets.scenes.object_motion import MovingObject
from localblur.datasets.scenes.procedural import dead_leaves

SIZE = 512
PAIRS = 12
SETTINGS = LocalBlurSettings(negative=0, still=0)
STRAIGHT = LocalBlurSettings(negative=0, still=0, slow=0, bend_deg=0, turn_deg=0, growth=0, acceleration=0)
RESPONSE = CAMERA_RESPONSES["srgb"]


def stages(settings: LocalBlurSettings) -> tuple[FloatArray, list[list[MovingObject]]]:
    """A background and the objects of some pairs, the same for every way."""
    rng = np.random.default_rng(1)
    background = dead_leaves(rng, SIZE, SIZE, 1.0)
    pairs = []
    for _ in range(PAIRS):
        sizes = rng.uniform(0.15, 0.55, int(rng.integers(1, 4))) * SIZE
        sprites = [patch_sprite(background, rng, round(size)) for size in sizes]
        pairs.append(place_objects(sprites, SIZE, SIZE, rng, settings))
    return background, pairs


def ours(settings: LocalBlurSettings) -> Callable[[], float]:
    """Linear light, only what moves is rendered; to coded pictures. Returns CPU seconds per pair."""
    prepare_process()
    background, pairs = stages(settings)

    def make() -> None:
        for objects in pairs:
            made = blur_objects(background, objects, spacing_px=settings.spacing_px)
            RESPONSE.encode(made.blurred), RESPONSE.encode(made.sharp)

    return timed(make)


def whole_frames(settings: LocalBlurSettings) -> Callable[[], float]:
    """The straightforward way: every instant composited at full size, then averaged; the same instants."""
    prepare_process()
    background, pairs = stages(settings)

    def make() -> None:
        for objects in pairs:
            steps = max(item.travel_px(START, END)[1] * 32 for item in objects)
            count = max(1, math.ceil(steps / settings.spacing_px))
            total = np.zeros_like(background)
            coverage = np.zeros(background.shape[:2], np.float32)
            for time_ms in START + (np.arange(count) + 0.5) / count * (END - START):
                frame = background.copy()
                for item in objects:
                    layer = whole_layer(item, float(time_ms))
                    alpha = layer[..., 3:]
                    frame = frame * (1 - alpha) + layer[..., :3]
                    coverage = np.maximum(coverage, layer[..., 3])
                cv2.accumulate(frame, total)
            sharp = background
            for item in objects:
                layer = whole_layer(item, 0.0)
                sharp = sharp * (1 - layer[..., 3:]) + layer[..., :3]
            RESPONSE.encode(total / np.float32(count)), RESPONSE.encode(sharp)

    return timed(make)


def kernel_blur(settings: LocalBlurSettings) -> Callable[[], float]:
    """Straight motions only: colour and alpha of every object blurred by kornia's motion blur, composited once."""
    prepare_process()
    background, pairs = stages(settings)

    def make() -> None:
        for objects in pairs:
            blurred = sharp = background
            for item in objects:
                layer = whole_layer(item, 0.0)
                x0, y0, _ = item.path.pose(START)
                x1, y1, _ = item.path.pose(END)
                length = max(3, 2 * round(math.hypot(x1 - x0, y1 - y0) / 2) + 1)
                angle = -math.degrees(math.atan2(y1 - y0, x1 - x0))
                moved = to_array(kornia.filters.motion_blur(to_tensor(layer)[None], length, angle, 0.0))
                sharp = sharp * (1 - layer[..., 3:]) + layer[..., :3]
                blurred = blurred * (1 - moved[..., 3:]) + moved[..., :3]
            RESPONSE.encode(blurred), RESPONSE.encode(sharp)

    return timed(make)


def whole_layer(item: MovingObject, time_ms: float) -> FloatArray:
    """An object at an instant on a layer of the picture's size, (SIZE, SIZE, 4)."""
    x, y, angle = item.path.pose(time_ms)
    size = math.exp(item.growth * time_ms)
    turn = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([(item.sprite.shape[1] - 1) / 2, (item.sprite.shape[0] - 1) / 2])
    matrix = np.hstack([turn, (np.array([x, y]) - turn @ middle)[:, None]])
    return np.asarray(cv2.warpAffine(item.sprite, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR), np.float32)


def timed(make: Callable[[], None]) -> Callable[[], float]:
    """A call that returns the CPU seconds of a pair."""

    def run() -> float:
        begun = time.process_time()
        make()
        return (time.process_time() - begun) / PAIRS

    return run


def prepare_process() -> None:
    """One thread: the claim is about one core."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def command_seconds(settings: LocalSynthesisSettings, compression: str) -> float:
    """CPU seconds of a pair from photographs into a pairs file, everything included but the start of Python."""
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        sources = write_photographs(Path(folder) / "photographs")
        begun = time.process_time()
        synthesize_local(
            sources, Path(folder) / "x.h5", settings, compression="none" if compression == "none" else "gzip"
        )
        return (time.process_time() - begun) / settings.count


def write_photographs(folder: Path) -> list[Path]:
    """Four pictures of 1024x768 as JPEG."""
    folder.mkdir()
    for number in range(4):
        image = RESPONSE.encode(dead_leaves(np.random.default_rng(number), 768, 1024, 1.0))
        cv2.imwrite(str(folder / f"{number}.jpg"), image[..., ::-1])
    return [folder]


def run(rounds: int) -> Section:
    """Our way beside the straightforward one, and on straight motions beside a kernel."""
    fast, slow = side_by_side(
        Variant(name="what moves only", prepare=ours, arguments=(SETTINGS,), units=PAIRS),
        Variant(name="whole frames", prepare=whole_frames, arguments=(SETTINGS,), units=PAIRS),
        rounds=rounds,
    )
    straight, kernel = side_by_side(
        Variant(name="what moves only", prepare=ours, arguments=(STRAIGHT,), units=PAIRS),
        Variant(name="kornia motion_blur of RGBA", prepare=kernel_blur, arguments=(STRAIGHT,), units=PAIRS),
        rounds=rounds,
    )
    chains = {
        "objects, file uncompressed": (LocalSynthesisSettings(count=40, grabcut=None), "none"),
        "objects, file with gzip": (LocalSynthesisSettings(count=40, grabcut=None), "gzip"),
        "objects and camera, file with gzip": (
            LocalSynthesisSettings(count=40, grabcut=None, realism=RealismSettings()),
            "gzip",
        ),
        "camera shake, file with gzip": (LocalSynthesisSettings(count=40, mode="global"), "gzip"),
    }
    rates = {name: 1 / command_seconds(*chain) for name, chain in chains.items()}
    return Section(
        title="Local blur without video",
        text=f"One pair of {SIZE}x{SIZE} with 1 to 3 objects, blurred 0.5 to 40 px, one thread, to coded pictures.",
        rows=[
            Row(what="arcs, turning and growing", ours=fast, other=slow, note=rate_note(fast.result)),
            Row(what="straight motions", ours=straight, other=kernel, note="no masks, no rotation in the other way"),
        ],
        facts=[
            f"from photographs into a pairs file, {name}: {rate:.1f} pairs per CPU second"
            for name, rate in rates.items()
        ],
    )


def rate_note(seconds: float) -> str:
    """Pairs per second of one core."""
    return f"{1 / seconds:.0f} pairs a second on one core"
