"""A pairs file under curation: its pairs in one numbered list, and every change a person makes to them."""

import math
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import PairInfo, Verdict
from localblur.datasets.storage.edits import EditsWriter, tidy_note
from localblur.datasets.storage.edits_overlay import split_note, with_note
from localblur.datasets.storage.mask_confidence import doubtful_below
from localblur.datasets.storage.patch_choice import blurred_fraction
from localblur.datasets.storage.reader import PairsFile, SceneEntry

Mask = npt.NDArray[np.uint8]

STORED = "stored"
"""Version of a mask nobody edited; otherwise it is the name of its PNG."""


class NoSuchPairError(LocalblurError):
    """There is no such pair or picture."""


class ReadOnlyError(LocalblurError):
    """Nothing may be changed."""


class ConflictError(LocalblurError):
    """What was to be changed had been changed by somebody else meanwhile."""


@dataclass(frozen=True)
class Place:
    """Where a pair is in its file."""

    scene: SceneEntry
    index: int
    name: str


class Curation:
    """Looks into a pairs file and writes to its edits journal; a context manager, usable from several threads.

    Args:
        path: the pairs file.
        user: who decides; None to look only.

    Raises:
        LocalblurError: if the file or its journal cannot be read, or somebody else edits it.
    """

    def __init__(self, path: Path, user: str | None) -> None:
        self.path, self.user = path, user
        self._mutex = threading.Lock()
        self._writer: EditsWriter | None = None
        self.stored = PairsFile(path, edits=False)
        self.identity = self.stored.identity
        if user is not None:
            self._writer = EditsWriter(path, self.identity, user, self.stored.folded_edits)
        try:
            with PairsFile(path) as pairs:
                self.overlay = pairs.overlay
            self.places = [
                Place(entry, index, name)
                for entry in self.stored.scenes
                for index, name in enumerate(self.stored.names(entry.name))
            ]
            self._infos = [info for entry in self.stored.scenes for info in self.stored.info(entry.name)]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Curation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others edit it."""
        self.stored.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @property
    def doubtful_below(self) -> float:
        """Masks of less confidence are worth a look."""
        return doubtful_below(self.stored.mask_settings, self.stored.header.settings.get("mask"))

    def place(self, number: int) -> Place:
        """Where pair `number` is.

        Raises:
            NoSuchPairError: if there is none.
        """
        if not 0 <= number < len(self.places):
            raise NoSuchPairError(f"there is no pair {number}, the file has {len(self.places)}")
        return self.places[number]

    def info(self, number: int) -> PairInfo:
        """What is known about a pair, edits included."""
        return self.overlay.revised(self.place(number).scene.name, self._infos[number])

    def row(self, number: int) -> dict[str, Any]:
        """What may change about a pair, as plain JSON values."""
        info = self.info(number)
        reasons, note = split_note(info.reasons)
        return {
            "number": number,
            "verdict": info.verdict.value,
            "by": info.decided_by,
            "reasons": reasons,
            "note": note,
            "mask": self.mask_kind(number),
            "mask_version": self.mask_version(number),
        }

    def table(self) -> dict[str, Any]:
        """Everything but pixels about all pairs, column by column, as plain JSON values; NaN is None."""
        rows = [self.row(number) for number in range(len(self.places))]
        scenes = self.stored.scenes
        order = {entry.name: position for position, entry in enumerate(scenes)}
        measures = sorted({key for info in self._infos for key in info.quality})
        return {
            "scenes": [{"name": s.name, "split": s.split, "height": s.height, "width": s.width} for s in scenes],
            "scene": [order[place.scene.name] for place in self.places],
            "name": [place.name for place in self.places],
            **{key: [row[key] for row in rows] for key in ("verdict", "by", "reasons", "note", "mask", "mask_version")},
            "measures": {key: [_finite(info.quality.get(key)) for info in self._infos] for key in measures}
            | {
                key: [_finite(value) for value in values]
                for key, values in (
                    ("exposure_long_ms", [info.exposure_long_ms for info in self._infos]),
                    ("exposure_short_ms", [info.exposure_short_ms for info in self._infos]),
                )
                if not all(math.isnan(value) for value in values)
            },
        }

    def blurred_shares(self) -> list[float | None]:
        """Share of the area that is blurred, of every pair; None without a mask."""
        stored = [share for entry in self.stored.scenes for share in self.stored.blurred_shares(entry.name)]
        return [
            _finite(float(share))
            if self.overlay.mask_edit(place.scene.name, place.name) is None
            else self.blurred_share(number)
            for number, (place, share) in enumerate(zip(self.places, stored, strict=True))
        ]

    def blurred_share(self, number: int) -> float | None:
        """Share of the area that is blurred; None without a mask."""
        cells, scene = self.cells(number), self.place(number).scene
        return None if cells is None else blurred_fraction(cells, scene.height, scene.width)

    def mask_kind(self, number: int) -> int:
        """0 no mask, 1 made by a method, 2 drawn or mended by a person."""
        place = self.place(number)
        if self.overlay.mask_edit(place.scene.name, place.name) is not None:
            return 2
        where = (place.scene.name, place.index)
        return int(self.stored.has_mask(*where)) + int(self.stored.is_mended(*where))

    def mask_version(self, number: int) -> str:
        """Changes with every change of the mask."""
        place = self.place(number)
        edit = self.overlay.mask_edit(place.scene.name, place.name)
        return STORED if edit is None else edit.file.removesuffix(".png")

    def mask(self, number: int) -> Mask | None:
        """The soft mask (H, W) of a pair; None without one."""
        place = self.place(number)
        size = (place.scene.height, place.scene.width)
        with self._mutex:
            edited = self.overlay.mask(place.scene.name, place.name, *size)
        return self.stored.read_mask(place.scene.name, place.index, 0, 0, *size) if edited is None else edited

    def cells(self, number: int) -> Mask | None:
        """Share of blurred pixels per 16-px cell, 0..255; None without a mask."""
        place = self.place(number)
        with self._mutex:
            edited = self.overlay.cells(place.scene.name, place.name, place.scene.height, place.scene.width)
        return self.stored.blur_cells(place.scene.name, place.index) if edited is None else edited

    def decide(self, number: int, verdict: str | None, note: str | None) -> None:
        """Write a verdict, a note, or both.

        Raises:
            LocalblurError: if they cannot be stored, or nothing may be changed.
        """
        place, writer = self.place(number), self._writable()
        wanted = None if verdict is None else _verdict(verdict)
        with self._mutex:
            if note is not None:
                note = tidy_note(note)
                with_note(self._infos[number].reasons, note)
                if note != split_note(self.info(number).reasons)[1]:
                    self.overlay.apply(writer.set_note(place.scene.name, place.name, note))
            if wanted is not None:
                self.overlay.apply(writer.set_verdict(place.scene.name, place.name, wanted))

    def set_mask(self, number: int, mask: Mask | None, version: str) -> None:
        """Write a mask, or None to go back to the stored one.

        Args:
            number: of the pair.
            mask: soft mask, uint8 (H, W).
            version: `mask_version` of the mask that was changed.

        Raises:
            ConflictError: if the pair has got another mask meanwhile.
        """
        place, writer = self.place(number), self._writable()
        with self._mutex:
            if version != self.mask_version(number):
                raise ConflictError("this mask was changed elsewhere meanwhile; it is shown anew, change it again")
            self.overlay.apply(writer.set_mask(place.scene.name, place.name, mask))

    def unpacked_mask(self, number: int, packed: bytes) -> Mask:
        """A mask sent as gzip or zlib compressed bytes, row by row.

        Raises:
            LocalblurError: if it is damaged or has another size than the pair's pictures.
        """
        scene = self.place(number).scene
        wanted = scene.height * scene.width
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            content = unpack.decompress(packed, wanted + 1)
        except zlib.error as error:
            raise LocalblurError(f"the mask is damaged: {error}") from error
        if len(content) != wanted or not unpack.eof:
            raise LocalblurError(f"the mask must have {wanted} bytes, {scene.width} x {scene.height}, unpacked")
        return np.frombuffer(content, np.uint8).reshape(scene.height, scene.width)

    def _writable(self) -> EditsWriter:
        if self._writer is None:
            raise ReadOnlyError(
                "the file is open for looking only; start view-dataset without --read-only to change it"
            )
        return self._writer


def _verdict(word: str) -> Verdict:
    try:
        return Verdict(word)
    except ValueError as error:
        raise LocalblurError(f"verdict must be one of {', '.join(Verdict)}, got {word!r}") from error


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
