"""What `align-dataset` reads: recordings and plain pair folders behind one small interface.

A group is `scenes/NAME` or `calibration/KIND`, as in both layouts on disk. Inputs are small frozen values, so that they
travel to worker processes; each process opens files by itself.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from localblur.alignment.light.radiometry import LinearImage, RadiometrySettings, linear_image, raw_image
from localblur.alignment.light.sensor_fields import BlackFrame, black_frame
from localblur.alignment.model.pipeline import CapturedPair
from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image
from localblur.datasets.recording import MANIFEST_NAME, Recording, Role
from localblur.datasets.storage.parts import files_identity

logger = logging.getLogger(__name__)

Encoding = Literal["srgb", "linear"]
Coding = Literal["raw", "srgb", "linear"]

STATIC, CHART, DARK, FLAT = CALIBRATION_GROUPS = (
    "calibration/static",
    "calibration/chart",
    "calibration/dark",
    "calibration/flat",
)

_PAIR_FILE = re.compile(r"(?P<name>.+)_(?P<role>blur|sharp)\.(png|tif|tiff)", re.IGNORECASE)


class PairInput(Protocol):
    """A source of captured pairs."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def kind(self) -> Literal["recording", "folder"]:
        """A recording's colours are a sensor's, a plain folder's may be a photograph's."""

    @property
    def coding(self) -> Coding:
        """How its values are taken: as a sensor's, or as was said or is usual for a plain folder."""

    @property
    def eight_bit(self) -> bool:
        """Whether 8 bits are enough to store its pairs without loss."""

    @property
    def identity(self) -> str:
        """Where it lies and what all of its pairs share, so that a run is not continued with another input. Scenes may
        grow; the calibration may not, since finished pairs were aligned with it."""

    def scenes(self) -> list[str]:
        """Names of the scenes."""

    def pairs(self, group: str) -> list[str]:
        """Names of the pairs of a group; none for a group that does not exist."""

    def read(self, group: str, pair: str) -> CapturedPair:
        """Read one pair; missing or damaged files are a `LocalblurError`."""

    def blacks(self) -> Mapping[Role, BlackFrame]:
        """The black of each camera as its dark frames show it; a camera without usable ones is missing."""


def open_input(path: Path, encoding: Encoding | None, settings: RadiometrySettings) -> PairInput:
    """Open a recording or a plain pair folder.

    Args:
        path: the folder.
        encoding: how the values of a plain folder are coded; None takes srgb for 8-bit files.
        settings: when a pixel counts as saturated.

    Raises:
        LocalblurError: if it is neither, holds no pair, a partner is missing, or 16-bit files come without `encoding`.
    """
    _recording.cache_clear()  # a recording may have grown since this process looked last
    _blacks.cache_clear()
    if (path / MANIFEST_NAME).is_file():
        source: PairInput = RecordingInput(path, settings)
        Recording.open(path)
        if encoding is not None:
            logger.warning("%s is a recording: its frames are linear, --encoding is for plain folders", path)
    elif path.is_dir():
        source = FolderInput(path, encoding or "srgb", settings, _eight_bit(path, encoding))
    else:
        raise LocalblurError(f"{path} {'is no folder' if path.exists() else 'does not exist'}; give a folder of pairs")
    for group in [*(f"scenes/{scene}" for scene in source.scenes()), *CALIBRATION_GROUPS]:
        source.pairs(group)  # a missing partner is said now, not after an hour
    if not source.scenes():
        raise LocalblurError(
            f"{path} holds no pair: expected {MANIFEST_NAME} (a recording) or scenes/<scene>/NN_blur.png and"
            " NN_sharp.png (.tif)"
        )
    return source


@dataclass(frozen=True)
class RecordingInput:
    """What `capture` recorded: raw frames of cameras B (blurred) and S (sharp)."""

    path: Path
    settings: RadiometrySettings
    kind: Literal["recording"] = "recording"
    coding: Coding = "raw"
    eight_bit: bool = False

    @property
    def identity(self) -> str:
        """Folder, time of creation, and a digest of the cameras and the journalled calibration pairs."""
        recording = _recording(self.path)
        pairs = [pair for group in CALIBRATION_GROUPS for pair in recording.pairs(group)]
        shared = [*recording.manifest.cameras.values(), *pairs]
        digest = hashlib.sha256("\n".join(record.model_dump_json() for record in shared).encode()).hexdigest()[:16]
        created = recording.manifest.created
        return f"{self.path.resolve()}, created {created}, {len(pairs)} calibration pairs, sha256 {digest}"

    def scenes(self) -> list[str]:
        """Names of the scenes that hold pairs."""
        return _recording(self.path).scenes

    def pairs(self, group: str) -> list[str]:
        """Pair names: the six-digit indices."""
        return [f"{pair.index:06d}" for pair in _recording(self.path).pairs(group)]

    def read(self, group: str, pair: str) -> CapturedPair:
        """Demosaic and linearise one pair."""
        recording = _recording(self.path)
        index = int(pair)
        record = next((found for found in recording.pairs(group) if found.index == index), None)
        if record is None:
            raise LocalblurError(f"{self.path / group} holds no pair {pair}")
        blurred, sharp = recording.frames(group, index)
        return CapturedPair(
            f"{self.path.name}/{group}/{pair}",
            self._image(blurred, "B"),
            self._image(sharp, "S"),
            exposure_long_ms=record.B.exposure_ms,
            exposure_short_ms=record.S.exposure_ms,
        )

    def blacks(self) -> Mapping[Role, BlackFrame]:
        """From the recording's dark frames; read once per process."""
        return _blacks(self.path) if self.settings.dark_frames else {}

    def _image(self, raw: npt.NDArray[Any], role: Role) -> LinearImage:
        camera, black = _recording(self.path).manifest.cameras[role], self.blacks().get(role)
        black_dn = black.level_dn if black else None
        return raw_image(raw, camera.bayer, camera.black_level, camera.white_level, self.settings, black_dn)


@dataclass(frozen=True)
class FolderInput:
    """A plain pair folder: `scenes/<scene>/NN_{blur,sharp}.{png,tif}` and `calibration/{static,chart}` alike."""

    path: Path
    encoding: Encoding
    settings: RadiometrySettings
    eight_bit: bool
    kind: Literal["folder"] = "folder"

    @property
    def coding(self) -> Coding:
        """As declared; sRGB where nothing was said of 8-bit files."""
        return self.encoding

    @property
    def identity(self) -> str:
        """Folder, and the calibration files by name, size and time of change."""
        pairs = [files for group in CALIBRATION_GROUPS for files in _list_pairs(self.path / group).values()]
        files = [file for roles in pairs for file in roles.values()]
        return f"{self.path.resolve()}, calibration: {files_identity(self.path, files)}"

    def scenes(self) -> list[str]:
        """Names of the scene folders that hold pairs."""
        folders = sorted(folder.name for folder in (self.path / "scenes").glob("*") if folder.is_dir())
        return [name for name in folders if self.pairs(f"scenes/{name}")]

    def pairs(self, group: str) -> list[str]:
        """Pair names, the NN of the files.

        Raises:
            LocalblurError: if an image has no partner.
        """
        return sorted(_list_pairs(self.path / group))

    def read(self, group: str, pair: str) -> CapturedPair:
        """Read one pair."""
        files = _list_pairs(self.path / group).get(pair)
        if files is None:
            raise LocalblurError(f"{self.path / group} holds no pair {pair}")
        return CapturedPair(f"{self.path.name}/{group}/{pair}", self._image(files["blur"]), self._image(files["sharp"]))

    def blacks(self) -> Mapping[Role, BlackFrame]:
        """None: a picture's black is not that of a sensor."""
        return {}

    def _image(self, path: Path) -> LinearImage:
        image = read_image(path)
        if image.itemsize != (1 if self.eight_bit else 2):
            raise LocalblurError(
                f"{path} has {8 * image.itemsize} bits, but the first picture of {self.path} had"
                f" {8 if self.eight_bit else 16}; keep one depth per folder"
            )
        return linear_image(image, self.encoding, self.settings)


def _list_pairs(folder: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        parts = _PAIR_FILE.fullmatch(path.name)
        if parts is None:
            continue
        roles = found.setdefault(parts["name"], {})
        role = parts["role"].lower()
        if role in roles:
            raise LocalblurError(f"{path} and {roles[role].name} are both the {role} image of one pair; keep one")
        roles[role] = path
    for name, roles in found.items():
        for role, partner in (("blur", "sharp"), ("sharp", "blur")):
            if role not in roles:
                present = roles[partner]
                raise LocalblurError(
                    f"{present} has no partner {name}_{role}{present.suffix}; add it or remove this file"
                )
    return found


def _eight_bit(path: Path, encoding: Encoding | None) -> bool:
    """Whether the folder's first readable picture has 8 bits."""
    for group in sorted((path / "scenes").glob("*")):
        for files in _list_pairs(group).values():
            try:
                image = read_image(files["sharp"])
            except LocalblurError as error:  # a damaged pair is lost when its turn comes; the next one tells the depth
                logger.debug("%s", error)
                continue
            if image.itemsize == 2 and encoding is None:
                raise LocalblurError(
                    f"{files['sharp']} has 16 bits, which may be linear or sRGB-coded; say so with"
                    " --encoding linear or --encoding srgb"
                )
            return image.itemsize == 1
    return True


@lru_cache(maxsize=8)
def _recording(path: Path) -> Recording:
    return Recording.open(path)


@lru_cache(maxsize=4)
def _blacks(path: Path) -> dict[Role, BlackFrame]:
    recording = _recording(path)
    indices = [pair.index for pair in recording.pairs(DARK)]
    found: dict[Role, BlackFrame] = {}
    for number, (role, camera) in enumerate(recording.manifest.cameras.items() if indices else ()):
        darks = (recording.frames(DARK, index)[number] for index in indices)
        try:
            found[role] = black_frame(darks, camera.bayer is not None, camera.black_level, camera.white_level)
        except LocalblurError as error:
            logger.warning("%s: the dark frames of camera %s are not used: %s", path, role, error)
    return found
