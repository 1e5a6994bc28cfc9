"""How a camera codes light into 8 bits: the published gamma 2.2, sRGB, or a curve measured and read from a file."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_decode, srgb_encode

Frame = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

CODES = 256
_STEPS = 65536
_SCALE = float(_STEPS - 1)
WIDE_TABLES = int(cv2.__version__.partition(".")[0]) >= 5
"""OpenCV looks up 16-bit values from version 5 on."""


@dataclass(frozen=True)
class CameraResponse:
    """How a camera codes light into 8 bits, as tables; `encode(decode(v)) == v` for every code v.

    Attributes:
        to_linear: (256,) float32, linear light in [0, 1] of every code, increasing.
        from_root: (65536,) uint8, code of linear light, indexed by its square root: fine steps where codes lie close.
    """

    to_linear: FloatArray
    from_root: npt.NDArray[np.uint8]

    def decode(self, frame: Frame) -> FloatArray:
        """Codes to linear light."""
        return np.asarray(cv2.LUT(frame, self.to_linear), np.float32)

    def encode(self, linear: FloatArray, scale: float = 1.0, into: Frame | None = None) -> Frame:
        """Linear light, times `scale`, to codes, to the nearest within half a code and a thousandth.

        Args:
            linear: not negative; above 1 is clipped.
            scale: what it is multiplied with.
            into: where to put the codes; None: a new array.
        """
        # converting to 16 bits rounds and clips
        index = cv2.multiply(cv2.sqrt(linear), float(np.sqrt(scale)) * _SCALE, dtype=cv2.CV_16U)
        codes = np.empty(linear.shape, np.uint8) if into is None else into
        if WIDE_TABLES:
            cv2.LUT(index, self.from_root, dst=codes)
        else:
            codes[...] = self.from_root[index]
        return codes


def _tabulate(decode: Callable[[Any], Any], encode: Callable[[Any], Any]) -> CameraResponse:
    codes = np.arange(CODES) / (CODES - 1)
    roots = np.linspace(0, 1, _STEPS)
    to_linear = np.asarray(decode(codes), np.float32)
    return CameraResponse(to_linear, np.rint((CODES - 1) * np.asarray(encode(roots**2))).astype(np.uint8))


CAMERA_RESPONSES: Mapping[str, CameraResponse] = MappingProxyType(
    {
        "srgb": _tabulate(srgb_decode, srgb_encode),
        # what Nah et al. (CVPR 2017) assumed for the GoPro
        "gamma2.2": _tabulate(lambda codes: codes**2.2, lambda linear: linear ** (1 / 2.2)),
    }
)
"""Responses by the name that `--camera-response` takes; anything else is the path of a measured curve."""


@lru_cache(maxsize=4)
def camera_response(name_or_path: str) -> CameraResponse:
    """A response of `CAMERA_RESPONSES`, or a measured curve, see `read_curve`.

    Raises:
        LocalblurError: if it is neither.
    """
    known = CAMERA_RESPONSES.get(name_or_path)
    if known is not None:
        return known
    path = Path(name_or_path)
    if not path.is_file():
        raise LocalblurError(
            f"camera response {name_or_path!r} is neither {' nor '.join(CAMERA_RESPONSES)} nor a file with a curve"
        )
    codes, light = read_curve(path)
    return _tabulate(
        lambda wanted: np.interp(wanted, codes / (CODES - 1), light),
        lambda linear: np.interp(linear, light, codes / (CODES - 1)),
    )


def read_curve(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read a measured curve: a CSV file with lines `code,light`, as from a bracket of exposures or a grey chart.

    Codes run from 0 to 255; light may have any unit and is scaled so that the lowest code is 0 and the highest 1.
    Between the points the curve is straight. Lines that begin with # and one line of headings are skipped.

    Returns:
        (codes, light in [0, 1]), both increasing.

    Raises:
        LocalblurError: if the file cannot be read, or the points do not make an increasing curve from 0 to 255.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read the curve {path}: {' '.join(str(error).split())}") from error
    points: list[tuple[float, float]] = []
    for number, row in enumerate(csv.reader(lines), 1):
        if not row or row[0].lstrip().startswith("#"):
            continue
        try:
            code, light = (float(cell) for cell in row)
        except ValueError:
            if number == 1 and not row[0].strip()[:1].isdigit():
                continue  # headings
            raise LocalblurError(
                f"{path}, line {number}: need two numbers 'code,light', got {','.join(row)!r}"
            ) from None
        points.append((code, light))
    codes, light_of = (np.array([point[axis] for point in points]) for axis in (0, 1))
    if len(points) < 2 or codes[0] != 0 or codes[-1] != CODES - 1:
        raise LocalblurError(f"{path} must hold points from code 0 to code {CODES - 1}, got {len(points)} points")
    if not (np.isfinite(light_of).all() and (np.diff(codes) > 0).all() and (np.diff(light_of) > 0).all()):
        raise LocalblurError(f"{path}: codes and light must increase from line to line")
    return codes, (light_of - light_of[0]) / (light_of[-1] - light_of[0])
