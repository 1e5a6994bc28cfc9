"""The pictures of docs/synthesis-local.md: `python examples/local_pictures.py PHOTOS [-o docs/images]`.

PHOTOS is a folder of photographs of 400 px and more whose terms allow the results to be shown.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray, read_image, srgb_encode
from localblur.datasets.light.noise import CameraNoise, add_noise
from localblur.datasets.light.realism import DrawnCamera, RealismSettings, draw_camera, take_picture
from localblur.datasets.local.blur import LocalBlur, blur_objects
from localblur.datasets.local.cutouts import Cutout, GrabCutSettings, cut_out, find_object, make_cutout_sprite
from localblur.datasets.local.scenes import list_pictures
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject
from localblur.datasets.scenes.photographs import decode_levels
from localblur.datasets.scenes.scene_objects import make_sprite
from localblur.datasets.scenes.textures import TextureSource
from localblur.datasets.scenes.trajectories import (
    ShakeSettings,
    blur_uniformly,
    line_trajectory,
    random_kernel,
    rasterise,
)
from localblur.training.evaluation.classical import BASELINES, deconvolve

DPI = 110
SIZE = 360


@click.command()
@click.argument("photographs", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("docs/images"))
def main(photographs: Path, output: Path) -> None:
    """Make the pictures of docs/synthesis-local.md."""
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9})
    output.mkdir(parents=True, exist_ok=True)
    paths = [path for path in list_pictures(photographs) if min(read_image(path).shape[:2]) >= SIZE]
    paths.sort(key=detail, reverse=True)
    objects = find_objects(paths)
    click.echo(f"{len(paths)} photographs, {len(objects)} objects")
    draw_pairs(paths, objects, output / "local-pairs.jpg")
    draw_ways(paths, output / "local-ways.jpg")
    draw_edges(paths, objects, output / "local-edges.jpg")
    draw_camera_stages(paths, objects, output / "local-camera.jpg")
    draw_shake(paths, output / "local-shake.jpg")


def find_objects(paths: Sequence[Path]) -> dict[Path, Cutout]:
    """What GrabCut finds."""
    found = {}
    for path in paths:
        try:
            image = read_image(path)
            found[path] = cut_out(image, find_object(image, GrabCutSettings()))
        except LocalblurError:
            continue
    return dict(sorted(found.items(), key=lambda item: -colourfulness(item[1])))


def colourfulness(cutout: Cutout) -> float:
    """How far the colours of an object lie apart."""
    return float(cutout.image[cutout.alpha > 128].std(axis=0).mean())


def detail(path: Path) -> float:
    """Mean change from pixel to pixel in the middle of a photograph, coded."""
    coded = srgb_encode(background(path))
    return float(np.abs(np.diff(coded, axis=0)).mean() + np.abs(np.diff(coded, axis=1)).mean())


def background(path: Path) -> FloatArray:
    """The middle of a photograph, linear, (SIZE, SIZE, 3); large ones at half their size."""
    coded = read_image(path)
    if min(coded.shape[:2]) >= 2 * SIZE:
        coded = cv2.resize(coded, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    y, x = (coded.shape[0] - SIZE) // 2, (coded.shape[1] - SIZE) // 2
    return decode_levels(np.ascontiguousarray(coded[y : y + SIZE, x : x + SIZE]))


def moved(still: FloatArray, sprite: FloatArray, heading: float, length: float, spin: float = 0.0) -> LocalBlur:
    """A sprite that crosses the middle of a background."""
    path = ArcPath(
        x=round(SIZE / 2) + (sprite.shape[1] - 1) % 2 / 2,
        y=round(SIZE / 2) + (sprite.shape[0] - 1) % 2 / 2,
        heading=heading,
        speed=length,
        curvature=0.01,
        spin=spin,
    )
    return blur_objects(still, [MovingObject(sprite, path, 0.05 if spin else 0.0)])


def draw_pairs(paths: Sequence[Path], objects: dict[Path, Cutout], output: Path) -> None:
    """Two pairs with their masks."""
    rows: list[tuple[str, FloatArray]] = []
    shown = list(objects)[:2]
    stills = [path for path in paths if path not in shown]
    for number, path in enumerate(shown):
        sprite = make_cutout_sprite(objects[path], 170)
        made = moved(background(stills[len(stills) // 3 + number]), sprite, 0.5 + number, 24 + 14 * number, 0.2)
        mask = np.repeat(made.mask[..., None] / np.float32(255), 3, axis=2)
        rows += [("blurred", made.blurred), ("sharp: mid-exposure", made.sharp), ("mask: ever covered", mask)]
    save(output, rows, columns=3)


def draw_ways(paths: Sequence[Path], output: Path) -> None:
    """The same object by published shortcuts and as light adds up."""
    still = background(paths[len(paths) // 3]) * np.float32(0.1)
    sprite = make_sprite(
        TextureSource("train"), [12], 150, feature_px=1.0, background=still, shape="polygon", style="textured"
    )
    sprite[..., :3] *= np.float32(1 / max(float(np.percentile(sprite[..., :3], 99)), 0.1))
    sprite[..., :3] = np.minimum(sprite[..., :3], sprite[..., 3:])
    made = moved(still, sprite, 0.0, 36)
    kernel = rasterise(line_trajectory(36, 0))
    alpha = np.zeros((SIZE, SIZE), np.float32)
    top, left = (round(SIZE / 2) - size // 2 for size in sprite.shape[:2])
    alpha[top : top + sprite.shape[0], left : left + sprite.shape[1]] = sprite[..., 3]
    coded = srgb_encode(made.sharp)
    inside = (alpha > 0.5)[..., None]
    hard = blur_uniformly(coded, kernel) * inside + coded * (1 - inside)
    layer = blur_uniformly(np.dstack([coded * alpha[..., None], alpha]), kernel)
    gamma = srgb_encode(still) * (1 - layer[..., 3:]) + layer[..., :3]
    part = slice(75, 285)
    pictures = {
        "sharp": coded,
        "blurred inside the outline": hard,
        "coded values averaged": gamma,
        "light averaged (synthesize-local)": srgb_encode(made.blurred),
    }
    save(output, [(name, picture[part, part]) for name, picture in pictures.items()], columns=4, coded=True)


def draw_edges(paths: Sequence[Path], objects: dict[Path, Cutout], output: Path) -> None:
    """An edge with the colours of the old background, and with its own."""
    rims = {path: rough_cutout(path) for path in objects}
    source = max(objects, key=lambda path: brighter(rims[path], objects[path]))
    rough = rims[source]
    still = background(next(path for path in paths[::-1] if path not in objects))
    pictures = []
    for name, cutout in (("as photographed", rough), ("of own colours", objects[source])):
        made = moved(still, make_cutout_sprite(cutout, 230), 0.3, 14)
        part = np.s_[60:240, 60:240]
        pictures += [(f"sharp, edge {name}", made.sharp[part]), ("blurred", made.blurred[part])]
    save(output, pictures, columns=4)


def brighter(rough: Cutout, refined: Cutout) -> float:
    """How much brighter the edge of one cut-out is than that of the other."""
    edge = (refined.alpha > 40) & (refined.alpha < 240)
    return float((rough.image[edge].astype(float) - refined.image[edge]).mean())


def rough_cutout(path: Path) -> Cutout:
    """An object with the colours its edge had in the photograph."""
    image = read_image(path)
    return cut_out(image, find_object(image, GrabCutSettings()), refined=False)


def draw_camera_stages(paths: Sequence[Path], objects: dict[Path, Cutout], output: Path) -> None:
    """What the camera adds, stage by stage."""
    still = background(paths[len(paths) // 2])
    made = moved(still, make_cutout_sprite(list(objects.values())[0], 190), 0.8, 30, 0.2)
    noise = CameraNoise(full_well_e=2500, read_noise_e=4)
    drawn = draw_camera(RealismSettings(camera=noise, noise_spread=(1, 1)), np.random.default_rng(0))
    stages = {
        "light as it is": DrawnCamera(),
        "noise (2500 e)": DrawnCamera(noise=noise),
        "and white balance": DrawnCamera(noise=noise, red_gain=drawn.red_gain, blue_gain=drawn.blue_gain),
        "and Bayer mosaic": drawn,
    }
    part, dark = np.s_[100:250, 100:250], np.float32(0.1)
    pictures = [
        (name, take_picture(dark * made.blurred, camera, np.random.default_rng(1))[part])
        for name, camera in stages.items()
    ]
    save(output, [(name, np.clip(picture / dark, 0, 1)) for name, picture in pictures], columns=4)


def draw_shake(paths: Sequence[Path], output: Path) -> None:
    """Kernels, a shaken picture, and what deconvolution with the known kernel makes of it."""
    still = background(paths[2])
    kernels = [random_kernel(np.random.default_rng(seed), ShakeSettings(length_px=(30, 60))) for seed in range(20, 36)]
    wide = 41
    tiles = []
    for kernel in kernels:
        tile = np.zeros((wide, wide), np.float32)
        margin = (wide - kernel.shape[0]) // 2
        inner = kernel[
            max(0, -margin) : kernel.shape[0] - max(0, -margin), max(0, -margin) : kernel.shape[1] - max(0, -margin)
        ]
        start = max(0, margin)
        tile[start : start + inner.shape[0], start : start + inner.shape[1]] = inner / inner.max()
        tiles.append(tile)
    sheet = np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, 16, 4)])
    noise = CameraNoise(full_well_e=9600, read_noise_e=4)
    blurred = np.clip(add_noise(blur_uniformly(still, kernels[4]), noise, np.random.default_rng(2)), 0, 1)
    pictures = [
        ("random kernels", np.repeat(sheet[..., None], 3, axis=2)),
        (told("shaken, with noise", blurred, still), blurred),
    ]
    for name in ("wiener", "richardson-lucy"):
        settings = BASELINES[name]
        if settings is not None:
            restored = deconvolve(blurred, kernels[4], settings)
            pictures.append((told(name, restored, still), restored))
    save(output, pictures, columns=4)


def told(name: str, picture: FloatArray, sharp: FloatArray) -> str:
    """A name with the picture's PSNR, sRGB-coded, without the border."""
    part = np.s_[30:-30, 30:-30]
    error = float(((srgb_encode(picture) - srgb_encode(sharp))[part] ** 2).mean())
    return f"{name}: {-10 * math.log10(error):.1f} dB"


def save(output: Path, pictures: Sequence[tuple[str, FloatArray]], *, columns: int, coded: bool = False) -> None:
    """Pictures side by side with their titles."""
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(9.6, rows * (9.6 / columns + 0.25)), dpi=DPI, layout="constrained")
    for number, (title, picture) in enumerate(pictures, 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(picture if coded else srgb_encode(picture), interpolation="nearest", vmin=0, vmax=1)
        axes.set_title(title)
        axes.set_axis_off()
    figure.savefig(output, pil_kwargs={"quality": 88})
    click.echo(f"{output}: {output.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
