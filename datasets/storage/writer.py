"""Writing a pairs file: one writer, fed with parts, safe against a kill at any moment.

Every pair first lands as a part (`parts.write_part`), then the writer folds it into `<output>.parts/building.h5`, which
is renamed onto the output when all is done. HDF5 does not promise that a file survives a kill in mid-write, even one
that still opens. So a `building.h5` that was not closed well is never trusted: it is built again from its parts.
"""

import logging
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import h5py
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing, write_text
from localblur.common.parallel import with_progress
from localblur.datasets.pair import Pair
from localblur.datasets.storage import parts as parts_files
from localblur.datasets.storage.compression import CHUNK_PX, Compression, check_compression
from localblur.datasets.storage.edits import refuse_edited
from localblur.datasets.storage.hdf5 import LIBVER, publish, reading, refuse_foreign, reserved, writing
from localblur.datasets.storage.layout import (
    METADATA_BYTES,
    create_scene,
    flatten,
    put_calibration,
    room_for,
    write_header,
)
from localblur.datasets.storage.packed_pairs import PackedPair, pack_pair, put_packed
from localblur.datasets.storage.parts import (
    CALIBRATION,
    parts_folder,
    read_arrays,
    read_part,
    write_arrays,
    write_packed,
)
from localblur.datasets.storage.schema import SCHEMA_VERSION, StoreHeader, text

logger = logging.getLogger(__name__)

BUILDING = "building.h5"
CLOSED_WELL = "closed-well"


class PairsWriter:
    """Writes a pairs file; a context manager.

    On a good end the finished file replaces `path`. On an exception or a kill `path` keeps what it held and the parts
    stay: the same call continues where it stopped, `finished` says what need not be done again.

    Args:
        path: the pairs file to make.
        header: what the file has in common; stored in it.
        overwrite: replace an existing file, and drop the parts of an unfinished run with other settings or identity.
        compression: `gzip` (level 1, readable everywhere), `lzf` (h5py only, faster), `none` (fastest, largest), or
            `bitshuffle-lz4` (as small as gzip and several times faster; needs the `fast` extra, also to read).
        identity: what else makes two calls the same run, as plain JSON values: the inputs (see `files_identity`), files
            written beside the output. Kept beside the parts and not in the file: it names folders of this machine.

    Attributes:
        parts: the folder for `write_part`.
        finished: (scene, name) of every pair that is in.

    Raises:
        LocalblurError: on entering, if `path` exists, if an unfinished run had other settings or another identity, or
            if another process is writing the same file; on a good end, if there is no pair.
    """

    def __init__(
        self,
        path: Path,
        header: StoreHeader,
        *,
        overwrite: bool = False,
        compression: Compression = "gzip",
        identity: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        check_compression(compression)
        self.path, self.header, self.compression = path, header, compression
        self.parts = parts_folder(path)
        self.finished: set[tuple[str, str]] = set()
        self._overwrite = overwrite
        # parts hold whole chunks: those of a version that cuts pictures otherwise must not be mixed in
        layout = {"schema_version": SCHEMA_VERSION, "compression": compression, "chunk_px": CHUNK_PX[compression]}
        self._run: dict[str, Any] = {**layout, **header.plain()}
        self._run["run"] = dict(identity)
        self._building = self.parts / BUILDING
        self._marker = self.parts / CLOSED_WELL
        self._splits: dict[str, str] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._counts: dict[str, int] = {}
        self._file: Any = None

    def __enter__(self) -> "PairsWriter":
        created = self._prepare()
        try:
            with writing(self.path):
                self._open(created)
            self._fold_leftovers()
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self._abandon()

    def begins(self) -> bool:
        """Whether entering begins a run, rather than continuing one of the same call; raises what entering would."""
        return self._earlier() is None

    def add(self, pair: Pair, split: str) -> None:
        """Store one pair: write its part, then fold it in.

        Raises:
            LocalblurError: if the pair does not fit the file: its type, the image size or split of its scene, a name
                twice, texts too long.
        """
        self._refuse_twice(pair.scene, pair.info.name)
        packed = pack_pair(self.header, pair, split, self.compression)
        self._check(packed)
        write_packed(self.parts, packed)
        self._fold(packed)

    def fold(self, part: Path) -> None:
        """Fold in a part that a worker wrote with `write_part` into the folder `self.parts`.

        Raises:
            LocalblurError: if the part is torn or foreign, or its pair does not fit, as in `add`.
        """
        packed = read_part(part)
        self._refuse_twice(packed.scene, packed.name)  # before anything is removed: the pair that is in has this part
        try:
            self._check(packed)
        except LocalblurError:
            part.unlink(missing_ok=True)
            raise
        self._fold(packed)

    def set_calibration(self, content: Mapping[str, Any]) -> None:
        """Store a rig calibration under /calibration: nested mappings become groups, arrays datasets, the rest JSON."""
        arrays, plain = flatten(content)
        write_arrays(
            self.parts / CALIBRATION, {f"array/{key}": value for key, value in arrays.items()}, {"json": plain}
        )
        self._fold_calibration(arrays, plain)

    def _prepare(self) -> str:
        """Make the parts folder ready; the creation time of this run or of the one that it continues."""
        earlier = self._earlier()
        if earlier is not None:
            return str(earlier.get("created"))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        parts_files.begin_run(self.parts, self._run | {"created": created})
        return created

    def _earlier(self) -> dict[str, Any] | None:
        """The header of the run to be continued; what another run finished is refused unless it may be dropped."""
        if self.path.is_dir():
            raise LocalblurError(f"{self.path} is a folder; give --output a file name")
        refuse_foreign(self.path)
        _refuse_second_writer(self._building)
        earlier = parts_files.earlier_run(self.parts)
        found = {key: earlier.get(key) for key in self._run} if earlier else {}
        difference = parts_files.first_difference(self._run, found)
        any_finished = earlier is not None and bool(parts_files.list_parts(self.parts))
        # a run whose building.h5 is gone was killed after that had become the output, which is its own
        if difference or not any_finished or self._building.exists():
            refuse_existing(self.path, self._overwrite)
        refuse_edited(self.path)
        if difference and any_finished and not self._overwrite:
            raise LocalblurError(
                f"{self.parts} holds an unfinished run with another {parts_files.difference_in_words(difference)};"
                " repeat that run as it was, or delete that folder or pass --overwrite to start afresh"
            )
        return None if difference else earlier

    def _open(self, created: str) -> None:
        trusted = self._marker.exists() and self._building.exists()
        self._marker.unlink(missing_ok=True)
        if trusted:
            try:
                with reading(self._building):
                    self._file = h5py.File(self._building, "r+", libver=LIBVER)
                    self._take_stock()
                return
            except LocalblurError as error:
                logger.warning("%s; it is built again from its parts", error)
                self._abandon()
                self._marker.unlink(missing_ok=True)
        self._building.unlink(missing_ok=True)
        self.finished.clear()
        for table in (self._splits, self._sizes, self._counts):
            table.clear()
        self._file = h5py.File(self._building, "w", libver=LIBVER)
        with reserved(self._file, self._building, METADATA_BYTES):
            write_header(self._file, self.header, created)
            self._file.flush()

    def _take_stock(self) -> None:
        for scene, group in self._file["scenes"].items():
            self._splits[scene] = str(group.attrs["split"])
            self._sizes[scene] = (group["blurred"].shape[1], group["blurred"].shape[2])
            rows = group["pairs"].fields(["name", "complete"])[:]
            names = {(scene, text(row["name"])) for row in rows if row["complete"] == 1}
            # an interrupt leaves at most one row that is not complete, the last: the next pair takes its place
            self._counts[scene] = len(names)
            self.finished |= names

    def _fold_leftovers(self) -> None:
        """Fold in the parts of an earlier run; what cannot be used is dropped with a warning and done again."""
        earlier = parts_files.list_parts(self.parts)
        for part in with_progress(earlier, len(earlier), f"{self.path.name}: taking up finished"):
            try:
                packed = read_part(part)
                if (packed.scene, packed.name) in self.finished:
                    continue
                self._check(packed)
            except LocalblurError as error:
                logger.warning("%s; it is ignored and its pair done again", error)
                part.unlink(missing_ok=True)
                continue
            self._fold(packed)
        if (self.parts / CALIBRATION).exists():
            try:
                arrays, content = read_arrays(self.parts / CALIBRATION)
            except LocalblurError as error:
                logger.warning("%s; ignored", error)
            else:
                self._fold_calibration({k.removeprefix("array/"): v for k, v in arrays.items()}, content["json"])

    def _fold_calibration(self, arrays: Mapping[str, npt.NDArray[Any]], plain: Mapping[str, Any]) -> None:
        size = sum(array.nbytes for array in arrays.values())
        with writing(self.path), reserved(self._file, self._building, size + METADATA_BYTES):
            put_calibration(self._file, arrays, plain)
            self._file.flush()

    def _check(self, packed: PackedPair) -> None:
        """Refuse a pair that fits the file but not its scene."""
        self._refuse_twice(packed.scene, packed.name)
        label = f"pair {packed.scene}/{packed.name}"
        known_split = self._splits.get(packed.scene, packed.split)
        if packed.split != known_split:
            raise LocalblurError(
                f"{label} is meant for split {packed.split} but its scene is in {known_split}; a scene is never divided"
            )
        height, width = packed.size
        known_height, known_width = self._sizes.get(packed.scene, (height, width))
        if (height, width) != (known_height, known_width):
            raise LocalblurError(
                f"{label} is {width}x{height} but its scene is {known_width}x{known_height};"
                " a scene has one image size: put other sizes into a scene of their own"
            )

    def _refuse_twice(self, scene: str, name: str) -> None:
        if (scene, name) in self.finished:
            raise LocalblurError(
                f"pair {scene}/{name} is in {self.path.name} already; give scenes and pairs different names"
            )

    def _fold(self, packed: PackedPair) -> None:
        scene, size, dtype = packed.scene, packed.size, self.header.dtype
        with writing(self.path), reserved(self._file, self._building, room_for(*size, dtype)):
            if scene not in self._counts:
                create_scene(self._file, scene, packed.split, (*size, 3), dtype, self.compression)
                self._splits[scene], self._sizes[scene], self._counts[scene] = packed.split, size, 0
            put_packed(self._file["scenes"][scene], self._counts[scene], packed, self.compression)
            self._file.flush()
        self._counts[scene] += 1
        self.finished.add((scene, packed.name))

    def _close(self) -> None:
        """Close building.h5 well and say so; only then will a later run trust it."""
        with writing(self.path):
            self._file.flush()
            self._file.close()
            self._file = None
            write_text(self._marker, "building.h5 was closed well\n")

    def _abandon(self) -> None:
        if self._file is not None:
            try:
                self._close()
            except (OSError, RuntimeError, ValueError):  # a full disk: building.h5 is built again from its parts
                logger.debug("building.h5 could not be closed well", exc_info=True)

    def _finish(self) -> None:
        self._close()
        if not self.finished:
            shutil.rmtree(self.parts, ignore_errors=True)
            raise LocalblurError(f"no pair was finished, so {self.path} was not written")
        publish(self._building, self.path)
        parts_files.remove_run(self.parts)


def _refuse_second_writer(building: Path) -> None:
    if building.exists():
        try:
            h5py.File(building, "r").close()
        except BlockingIOError as error:
            raise LocalblurError(
                f"another process is writing into {building.parent}; wait until it has finished"
            ) from error
        except OSError:
            logger.debug("%s does not open; it is built again", building)
