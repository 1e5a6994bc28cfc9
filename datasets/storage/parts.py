"""Parts: finished pairs left as small files beside the output, so that a kill costs at most the pair in work.

`pairs.h5.parts/` holds `header.json` (what the output will be), one `.npz` per finished pair, and the HDF5 file that is
being built from them. Parts are written by any process, atomically; one writer folds them in.
"""

import hashlib
import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, read_json, write_json
from localblur.datasets.pair import Pair
from localblur.datasets.storage.compression import Compression, check_compression
from localblur.datasets.storage.hdf5 import writing
from localblur.datasets.storage.packed_pairs import PackedImage, PackedPair, pack_pair, plain_row, row_of
from localblur.datasets.storage.schema import StoreHeader

logger = logging.getLogger(__name__)

PART_FORMAT = "localblur-part"
PART_VERSION = 1
HEADER = "header.json"
CALIBRATION = "calibration.npz"

PLANNING = "planning"
"""Key in the identity of a run: version of the program's part that decides which pairs are made, and of what."""

Arrays = dict[str, npt.NDArray[Any]]


def parts_folder(output: Path) -> Path:
    """Where the parts of `output` lie: `<output>.parts`."""
    return output.with_name(output.name + ".parts")


def part_path(folder: Path, scene: str, name: str) -> Path:
    """The part of a pair; readable, safe on every file system, and unique also for names that look alike."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{scene}-{name}")[:80]
    digest = hashlib.sha256(f"{scene}/{name}".encode()).hexdigest()[:12]
    return folder / f"{readable}-{digest}.npz"


def write_part(folder: Path, pair: Pair, split: str) -> Path:
    """Pack a finished pair and leave it in `folder` (see `parts_folder`) atomically; for worker processes.

    Returns:
        The part, to be handed to `PairsWriter.fold`. Writing the same pair again replaces its part.

    Raises:
        LocalblurError: if the pair cannot be stored in the file that is being made (see `pack_pair`), or none is.
    """
    header, compression = _file_of(folder)
    return write_packed(folder, pack_pair(header, pair, split, compression))


def write_packed(folder: Path, packed: PackedPair) -> Path:
    """Leave a packed pair in `folder`, as `write_part` does."""
    path = part_path(folder, packed.scene, packed.name)
    arrays: Arrays = {"row": plain_row(packed.row)}
    for name, image in packed.images.items():
        arrays |= {f"{name}/content": image.content, f"{name}/table": image.table}
    write_arrays(path, arrays, {"scene": packed.scene, "split": packed.split, "size": list(packed.size)})
    return path


def read_part(path: Path) -> PackedPair:
    """Read a part.

    Raises:
        LocalblurError: if it is torn, foreign, or makes no sense.
    """
    arrays, content = read_arrays(path)
    try:
        row = row_of(arrays.pop("row"))
        names = {key.partition("/")[0] for key in arrays}
        images = {
            name: PackedImage(content=arrays[f"{name}/content"], table=arrays[f"{name}/table"])
            for name in sorted(names)
        }
        height, width = content["size"]
        return PackedPair(
            scene=str(content["scene"]), split=str(content["split"]), size=(height, width), row=row, images=images
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalblurError(f"part {path} makes no sense: {error}") from error


def write_arrays(path: Path, arrays: Arrays, content: dict[str, Any]) -> None:
    """Write arrays and JSON content as one uncompressed `.npz`, atomically; it carries a CRC of everything."""
    meta = json.dumps({"format": PART_FORMAT, "version": PART_VERSION, **content}).encode()
    with writing(path), atomic_path(path) as temporary:
        np.savez(temporary, **(arrays | {"meta": np.frombuffer(meta, np.uint8)}))  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_arrays` wrote; torn or foreign files are a `LocalblurError`."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        content = json.loads(arrays.pop("meta").tobytes())
        if (content.pop("format"), content.pop("version")) != (PART_FORMAT, PART_VERSION):
            raise ValueError("of another format")
    except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise LocalblurError(f"part {path} is torn or foreign: {' '.join(str(error).split())}") from error
    return arrays, content


def _file_of(folder: Path) -> tuple[StoreHeader, Compression]:
    """Header and compression of the file that is made from the parts in `folder`."""
    run = read_json(folder / HEADER)
    try:
        header = StoreHeader.model_validate({name: run[name] for name in StoreHeader.model_fields})
        return header, check_compression(run["compression"])
    except (KeyError, TypeError, ValueError) as error:
        raise LocalblurError(f"{folder / HEADER} is damaged; delete {folder} to start afresh") from error


def list_parts(folder: Path) -> list[Path]:
    """The parts of pairs in `folder`, sorted; leftovers of interrupted writes are not among them."""
    return sorted(path for path in folder.glob("[!.]*.npz") if path.name != CALIBRATION)


def earlier_run(folder: Path) -> dict[str, Any] | None:
    """The header of an unfinished run in `folder`, even if it finished nothing; None if there is none.

    Raises:
        LocalblurError: if the folder is something else, which is better left alone.
    """
    if (folder / HEADER).is_file():
        earlier = read_json(folder / HEADER)
        if not isinstance(earlier, dict):
            raise LocalblurError(f"{folder / HEADER} is damaged; delete {folder} to start afresh")
        return earlier
    # a kill may come between making the folder and writing its header
    if folder.exists() and (not folder.is_dir() or any(not entry.name.startswith(".") for entry in folder.iterdir())):
        raise LocalblurError(f"{folder} is in the way: it is no folder of parts; move it or choose another --output")
    return None


def begin_run(folder: Path, header: dict[str, Any]) -> None:
    """Empty `folder` and write the header of a new run; call `earlier_run` first."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_json(folder / HEADER, header)


def remove_run(folder: Path) -> None:
    """Remove the folder of a run whose file is complete. It loses its name first: a kill leaves nothing half removed
    that the next run would take for work to go on with, or find in its way."""
    gone = folder.with_name(f".{folder.name}.done")
    shutil.rmtree(gone, ignore_errors=True)
    try:
        folder.replace(gone)
    except OSError:  # Windows, where somebody looks into the folder
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)
    if gone.exists():
        logger.warning("could not remove %s; it is no longer needed", gone)


def difference_in_words(difference: str) -> str:
    """A difference between two runs, see `first_difference`, to be put behind `another`."""
    said = difference.removeprefix("run.")
    return f"{PLANNING} (another version of the program began it)" if said.startswith(f"{PLANNING} ") else said


def files_identity(root: Path, files: Iterable[Path]) -> str:
    """Number and digest of `files` by name below `root`, size and time of change: tells whether a run continues with
    the files it began with, without reading them."""
    lines = sorted({f"{file.relative_to(root).as_posix()} {_size_and_time(file)}" for file in files})
    return f"{len(lines)} files, sha256 {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def _size_and_time(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return "cannot be read"  # whoever needs its content will say so
    return f"{found.st_size} {found.st_mtime_ns}"


def first_difference(wanted: Any, found: Any, path: str = "") -> str | None:
    """The dotted path of the first difference between two plain JSON values with both values, or None."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            inner = first_difference(wanted.get(key), found.get(key), f"{path}.{key}" if path else str(key))
            if inner is not None:
                return inner
        return None
    return None if wanted == found else f"{path} ({found!r}, now {wanted!r})"
