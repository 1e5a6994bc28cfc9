"""Cut-outs on disk: made once from photographs, with masks, alpha channels or GrabCut, looked at, and used again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, write_text
from localblur.datasets.images import IntArray, as_rgb, read_channels, read_plane
from localblur.datasets.local.cutouts import Cutout, GrabCutSettings, NoObjectError, cut_out, find_object
from localblur.datasets.local.scenes import list_pictures
from localblur.datasets.storage.names import storable_name

LARGEST_PX = 768
"""Cut-outs are kept at most this large: they are laid over pictures, not printed."""
NO_OBJECT = ".no-object.txt"


@dataclass(frozen=True, kw_only=True)
class CutoutTask:
    """One photograph to cut an object from.

    Attributes:
        picture: the photograph; with an alpha channel, that is the mask.
        mask: its mask; None: the alpha channel, or GrabCut.
        output: the RGBA picture to write.
        settings: of GrabCut; None: a mask or an alpha channel is needed.
    """

    picture: Path
    mask: Path | None
    output: Path
    settings: GrabCutSettings | None


def cutout_tasks(
    pictures: Sequence[Path], masks: Path | None, folder: Path, settings: GrabCutSettings | None
) -> list[CutoutTask]:
    """What to cut out of which picture; masks have the picture's name, their suffix does not matter.

    Outputs are named after what they depend on, so that one that is there can be used again.

    Raises:
        LocalblurError: if no picture has a mask in the folder, or names are not enough to tell which.
    """
    by_stem = {} if masks is None else _by_stem(list_pictures(masks), "masks")
    if masks is not None:
        _by_stem([picture for picture in pictures if picture.stem in by_stem], "pictures with a mask")
    if masks is not None and not any(picture.stem in by_stem for picture in pictures):
        raise LocalblurError(f"no mask in {masks} has the name of a picture (for example {pictures[0].stem}.png)")
    chosen = [picture for picture in pictures if masks is None or picture.stem in by_stem]
    return [
        CutoutTask(
            picture=picture,
            mask=by_stem.get(picture.stem),
            output=folder
            / f"{storable_name(picture.stem)}-{_digest(picture, by_stem.get(picture.stem), settings)}.png",
            settings=settings,
        )
        for picture in chosen
    ]


def _by_stem(paths: Sequence[Path], what: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise LocalblurError(
                f"{what} of one name: {named[path.stem]} and {path}; a picture and its mask are found by it: rename"
            )
        named[path.stem] = path
    return named


def make_cutout(task: CutoutTask) -> Path:
    """Cut an object out and write it as RGBA; what is there already is kept. Runs in workers.

    Raises:
        NoObjectError: if GrabCut finds none, now or earlier.
        LocalblurError: if a file cannot be read, or the mask does not fit. The reason names the file.
    """
    if task.output.is_file():
        return task.output
    refused = task.output.with_suffix(NO_OBJECT)
    if refused.is_file():
        raise NoObjectError(refused.read_text(encoding="utf-8").strip())
    task.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        cutout = _cut(task)
    except NoObjectError as error:
        reason = f"{task.picture}: {error}"
        write_text(refused, reason + "\n")
        raise NoObjectError(reason) from error
    except LocalblurError as error:
        raise LocalblurError(str(error) if str(task.picture) in str(error) else f"{task.picture}: {error}") from error
    _write_rgba(task.output, cutout)
    return task.output


@lru_cache(maxsize=32)
def read_cutout(path: Path) -> Cutout:
    """A cut-out as `make_cutout` wrote it."""
    rgba = read_channels(path)
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
        raise LocalblurError(f"{path} must be 8-bit RGBA, got {rgba.dtype} {rgba.shape}; delete it and run again")
    return Cutout(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]))


def _digest(picture: Path, mask: Path | None, settings: GrabCutSettings | None) -> str:
    told = [settings.model_dump_json() if settings is not None else ""]
    for path in (picture, *(() if mask is None else (mask,))):
        state = path.stat()
        told.append(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:10]


def _cut(task: CutoutTask) -> Cutout:
    picture = read_channels(task.picture)
    own_alpha = picture[..., 3] if picture.ndim == 3 and picture.shape[2] == 4 else None
    image = _bytes(as_rgb(picture))
    if task.mask is not None:
        alpha = _bytes(read_plane(task.mask))
        alpha = np.asarray(alpha * np.uint8(255), np.uint8) if alpha.max() == 1 else alpha
    elif own_alpha is not None:
        return _reduced(cut_out(image, _bytes(own_alpha), refined=False))
    elif task.settings is not None:
        alpha = find_object(image, task.settings)
    else:
        raise LocalblurError("there is neither a mask nor an alpha channel; give --masks, or leave GrabCut on")
    return _reduced(cut_out(image, alpha))


def _bytes(image: IntArray) -> npt.NDArray[np.uint8]:
    return np.asarray(image >> 8 if image.dtype == np.uint16 else image, np.uint8)


def _reduced(cutout: Cutout) -> Cutout:
    scale = LARGEST_PX / max(cutout.alpha.shape)
    if scale >= 1:
        return cutout
    planes = (
        cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for plane in (cutout.image, cutout.alpha)
    )
    return Cutout(*planes)


def _write_rgba(path: Path, cutout: Cutout) -> None:
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(cutout.rgba()[..., [2, 1, 0, 3]]))
    if not done:
        raise LocalblurError(f"cannot write {path}: the encoder refused {cutout.alpha.shape}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
