"""Pictures for docs/synthesis.md: ghosts of averaged frames and their cure, light against codes, a contact sheet.

Everything is rendered here, so the truth is known: `python examples/synthesis_pictures.py docs/images`.
"""

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import click
import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.films.blending import Exposure
from localblur.datasets.films.interpolation import Bridge, InterpolationSettings, bridge
from localblur.datasets.films.synthesis import synthesize
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.images import FloatArray, from_unit, read_image, srgb_encode, write_image
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject, integrate, render_frames
from localblur.datasets.scenes.scene_objects import make_sprite
from localblur.datasets.scenes.textures import TextureSource

HEIGHT, WIDTH, FRAMES, SPEED_PX = 250, 380, 7, 12.0
SRGB = CAMERA_RESPONSES["srgb"]
Bytes = npt.NDArray[np.uint8]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Write the pictures into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    background, objects = stage(dark=False)
    write_image(folder / "synthesis-ghosts.jpg", ghosts(background, objects))
    write_image(folder / "synthesis-light.jpg", light_and_codes(*stage(dark=True)))
    contact_sheet(folder / "synthesis-preview.jpg", background, objects)


def stage(*, dark: bool) -> tuple[FloatArray, list[MovingObject]]:
    """A still background and one textured object that crosses it; or small lamps at night."""
    source = TextureSource("train")
    background = source.background([32, 3 if dark else 2], HEIGHT, WIDTH)
    if dark:
        lamp = np.zeros((15, 15, 4), np.float32)
        cv2.circle(lamp, (7, 7), 5, (1.0, 0.9, 0.6, 1.0), -1, cv2.LINE_AA)
        places = ((0.3, 0.3), (0.5, 0.5), (0.7, 0.72))
        lamps = [MovingObject(lamp, path(x * WIDTH, y * HEIGHT, 0.3)) for x, y in places]
        return 0.03 * background, lamps
    sprite = make_sprite(source, [33, 10], 130, feature_px=1.0, background=background, style="textured")
    return background, [MovingObject(sprite, path(WIDTH / 2, HEIGHT / 2, 0.25))]


def path(x: float, y: float, heading: float) -> ArcPath:
    """A straight way through (x, y) at time 0; a unit of time is a frame."""
    return ArcPath(x=x, y=y, heading=heading, speed=SPEED_PX, acceleration=0.0, curvature=0.0, angle=0.0, spin=0.0)


def ghosts(background: FloatArray, objects: list[MovingObject]) -> Bytes:
    """Averaged frames, interpolated frames, and the exposure they stand for."""
    frames = filmed(background, objects)
    settings = InterpolationSettings(frames=16)
    bridges = [bridge(*two, SRGB, settings) for two in zip(frames[:-1], frames[1:], strict=True)]
    pictures = []
    for used in ([Bridge()] * len(bridges), bridges):
        exposure = Exposure(SRGB)
        for index, frame in enumerate(frames[1:-1]):
            exposure.add(frame, (used[index].second, used[index + 1].first))
        pictures.append(exposure.blurred())
    truth = coded(exposed(background, objects))
    names = (f"{FRAMES} frames averaged, {SPEED_PX:g} px per frame", "--interpolate 16", "continuous exposure")
    part = (slice(40, 210), slice(80, 310))
    large = [
        cv2.resize(picture[part], None, fx=1.6, fy=1.6, interpolation=cv2.INTER_CUBIC) for picture in [*pictures, truth]
    ]
    return side_by_side(large, names)


def light_and_codes(background: FloatArray, objects: list[MovingObject]) -> Bytes:
    """Lamps at night: averaged codes lose their streaks."""
    frames = filmed(background, objects, per_frame=12)[12:-12]
    exposure = Exposure(SRGB, coded=True)
    for frame in frames:
        exposure.add(frame)
    truth = coded(exposed(background, objects))
    return side_by_side(
        [exposure.blurred_codes(), exposure.blurred(), truth], ("codes averaged", "light averaged", "exposure")
    )


def filmed(background: FloatArray, objects: list[MovingObject], per_frame: int = 1) -> list[Bytes]:
    """Frames of an instant each, one before and one after the exposure included."""
    interval = 1.0 / per_frame
    start = -FRAMES / 2 - 1 + interval / 2
    count = (FRAMES + 2) * per_frame
    rendered = render_frames(background, objects, count=count, interval_ms=interval, start_ms=start)
    return [coded(light) for light in rendered]


def exposed(background: FloatArray, objects: list[MovingObject]) -> FloatArray:
    """The exposure itself, linear light."""
    return integrate(objects, HEIGHT, WIDTH, -FRAMES / 2, FRAMES / 2, spacing_px=0.25).over(background)


def contact_sheet(target: Path, background: FloatArray, objects: list[MovingObject]) -> None:
    """The preview that the command writes, of a clip with a still stretch."""
    moving = [coded(light) for light in render_frames(background, objects, count=14, interval_ms=0.5, start_ms=-3.5)]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        with av.open(str(clip), "w") as container:
            stream = container.add_stream("ffv1", rate=Fraction(240))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
            for frame in [*moving, *[moving[-1]] * 7]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        settings = SynthesisSettings(shortest=7, longest=7, skip_static=True, split="train=1")
        done = synthesize([clip], Path(folder) / "x.h5", settings, preview=True)
        sheet = read_image(done.sheets[0])
        shutil.rmtree(done.sheets[0].parent)
    small = cv2.resize(np.asarray(sheet, np.uint8), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    write_image(target, small)


def coded(light: FloatArray) -> Bytes:
    """sRGB-coded 8 bit."""
    return np.asarray(from_unit(srgb_encode(light), 8), np.uint8)


def side_by_side(pictures: list[Bytes], names: tuple[str, ...]) -> Bytes:
    """Pictures with their names above them."""
    columns = []
    for picture, name in zip(pictures, names, strict=True):
        band = np.full((24, picture.shape[1] + 6, 3), 255, np.uint8)
        cv2.putText(band, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        framed = cv2.copyMakeBorder(picture, 0, 0, 0, 6, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        columns.append(np.vstack([band, framed]))
    return np.hstack(columns)


if __name__ == "__main__":
    main()
