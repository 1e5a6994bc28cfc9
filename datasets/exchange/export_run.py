"""Exporting a pairs file: pictures encoded by workers, files that appear whole, interrupted exports continued."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, ensure_space, read_json, write_json
from localblur.common.parallel import run_tasks
from localblur.common.settings import Settings
from localblur.datasets.exchange.dataset_card import CROISSANT, write_card
from localblur.datasets.exchange.exporters import FORMATS, PairPlaces, check_names
from localblur.datasets.exchange.lmdb_writer import LmdbSet
from localblur.datasets.exchange.picture_source import LMDB_SUFFIX, import_lmdb
from localblur.datasets.exchange.tree_terms import EXPORTED, terms_to_plain
from localblur.datasets.images import from_unit, to_coded
from localblur.datasets.pair import Pair, PairInfo, Verdict, binary_mask
from localblur.datasets.storage.edits import edits_path
from localblur.datasets.storage.schema import SPLITS, encode_quality
from localblur.datasets.store import PairsFile, files_identity

MARKER = EXPORTED
TASKS_AHEAD = 32
"""As many workers can be busy; LMDBs take encoded pictures from them, which wait here."""
TREE_TOPS = (*SPLITS, "dataset", "masks")
"""Folders that the places of all formats begin with."""

Pixels = npt.NDArray[Any]


class ExportSettings(Settings):
    """How a pairs file is exported; stored with the export.

    Attributes:
        format: a name of `FORMATS`.
        bit_depth: of the PNGs, which are always sRGB-coded.
        crop: `none`: the whole sharp picture; `valid`: its valid box.
        verdict: `accept`: accepted pairs; `any`: all.
    """

    format: str
    bit_depth: Literal[8, 16] = 8
    crop: Literal["none", "valid"] = "none"
    verdict: Literal["accept", "any"] = "accept"


@dataclass(frozen=True, kw_only=True)
class ExportTask:
    """One pair for a worker, and the folder it goes to; `stamp` changes when the pairs file or its edits do."""

    file: Path
    stamp: str
    scene: str
    index: int
    name: str
    split: str
    folder: Path
    settings: ExportSettings

    @property
    def places(self) -> PairPlaces:
        """Where its pictures go, below the folder."""
        return FORMATS[self.settings.format].places(self.split, self.scene, self.name)


@dataclass(frozen=True, kw_only=True)
class ExportedPair:
    """What a worker made of a task: encoded pictures by place for LMDBs (files are written by the worker), and the
    line of metadata."""

    entries: dict[str, tuple[bytes, tuple[int, ...]]]
    line: dict[str, Any]


@dataclass
class Exported:
    """What came of it: pairs and masks written, and what was left out, in words; notes on what readers will miss."""

    pairs: int = 0
    masks: int = 0
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def export_dataset(
    file: Path,
    folder: Path,
    settings: ExportSettings,
    *,
    overwrite: bool = False,
    executor: Executor | None = None,
    begin: Callable[[int], None] = lambda _: None,
    step: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export a pairs file into `folder`.

    Args:
        file: the pairs file.
        folder: to make; one with an unfinished export of the same pairs is continued.
        settings: see there.
        overwrite: write into a folder that holds something else; an earlier export in it, and files of the same names,
            are replaced.
        executor: encodes pictures; None encodes them here.
        begin: called once with how many pairs there will be; `step` with the name of each when it is done.

    Raises:
        LocalblurError: if `folder` holds something else, no pair is to be exported, names do not fit the format, or
            there is no room.
    """
    if settings.format == "lmdb":
        import_lmdb()
    with PairsFile(file) as pairs:
        result = Exported()
        tasks = _tasks(pairs, folder, settings, result.left_out)
        if not tasks:
            raise LocalblurError(
                f"no pair of {file} is to be exported: {'; '.join(result.left_out[:3]) or 'none fits'}"
            )
        marker = {
            "pairs": pairs.identity,
            "stamp": tasks[0].stamp,
            "settings": settings.model_dump(mode="json"),
            "file": file.name,
            "terms": terms_to_plain(pairs.header),
        }
        _prepare(folder, marker, tasks, overwrite)
        ensure_space(folder, _size_bytes(pairs, tasks, settings.bit_depth), f"exporting {len(tasks)} pairs")
        begin(len(tasks))
        lines: dict[tuple[str, str], dict[str, Any]] = {}
        with LmdbSet(folder) as lmdbs:
            for task, made in run_tasks(export_pair, tasks, executor, ahead=TASKS_AHEAD):
                step(f"{task.scene}/{task.name}")
                if isinstance(made, Exception):
                    raise made
                for place, (content, shape) in made.entries.items():
                    lmdbs.put(place, content, shape)
                lines[task.scene, task.name] = made.line
        ordered = [(task.split, lines[task.scene, task.name]) for task in tasks]
        _write_metadata(folder, settings, ordered)
        result.pairs = len(ordered)
        result.notes = _unread(settings.format, [split for split, _ in ordered])
        result.masks = sum(line["blurred_share"] is not None for _, line in ordered)
        write_card(folder, pairs, settings.format, ordered)
        write_json(folder / MARKER, marker | {"finished": True})
    return result


def export_pair(task: ExportTask) -> ExportedPair:
    """Write the pictures of a pair, or encode them for an LMDB; runs in workers. Files that are there are kept."""
    pairs = _opened(task.file, task.stamp)
    pair = pairs.read(task.scene, task.index)
    y0, x0, y1, x1 = pair.valid_box if task.settings.crop == "valid" else (0, 0, *pair.blurred.shape[:2])
    window = (slice(y0, y1), slice(x0, x1))
    images = {"blurred": pair.blurred, "sharp": pair.sharp}
    encoding, depth = pairs.header.encoding, task.settings.bit_depth
    coded = {role: coded_picture(image[window], encoding, depth) for role, image in images.items()}
    if pair.mask is not None:
        coded["mask"] = _mask(pair.mask[window], FORMATS[task.settings.format].binary_masks)
    places = {"blurred": task.places.blurred, "sharp": task.places.sharp, "mask": task.places.mask}
    entries = {}
    for role, image in coded.items():
        if task.settings.format == "lmdb":
            entries[places[role].as_posix()] = (_png(image, task), (*image.shape, 1)[:3])
        elif not (task.folder / places[role]).exists():
            path = task.folder / places[role]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(_png(image, task))
    listed = coded if task.settings.format == "imagefolder" else {}
    files = {role: places[role].relative_to(task.split).as_posix() for role in listed}
    return ExportedPair(entries=entries, line=metadata_line(pair, files, task.settings.crop == "valid"))


def coded_picture(image: Pixels, encoding: str, bit_depth: int) -> Pixels:
    """Stored pixels as sRGB-coded integers; those that are so already are not touched."""
    if encoding == "srgb" and 8 * image.dtype.itemsize == bit_depth:
        return image
    return from_unit(to_coded(image, encoding), bit_depth)


def metadata_line(pair: Pair, files: dict[str, str], cropped: bool) -> dict[str, Any]:
    """What `metadata.jsonl` says about a pair; numbers that are not known are null."""
    info: PairInfo = pair.info
    line: dict[str, Any] = {f"{role}_file_name": name for role, name in files.items()}
    line |= {"scene": pair.scene, "name": info.name}
    for key in ("exposure_long_ms", "exposure_short_ms"):
        value = asdict(info)[key]
        line[key] = value if np.isfinite(value) else None
    height, width = pair.blurred.shape[:2]
    y0, x0, y1, x1 = pair.valid_box
    line["valid_box"] = [0, 0, y1 - y0, x1 - x0] if cropped else [y0, x0, y1, x1]
    line |= {"height": y1 - y0 if cropped else height, "width": x1 - x0 if cropped else width}
    line |= {"quality": json.loads(encode_quality(info.quality)), "verdict": info.verdict.value}
    line |= {"reasons": info.reasons, "decided_by": info.decided_by}
    line["blurred_share"] = None if pair.mask is None else round(float(binary_mask(pair.mask).mean()), 6)
    return line


def _tasks(pairs: PairsFile, folder: Path, settings: ExportSettings, left_out: list[str]) -> list[ExportTask]:
    chosen, stamp = FORMATS[settings.format], _stamp(pairs.path)
    tasks = []
    for entry in pairs.scenes:
        for index, info in enumerate(pairs.info(entry.name)):
            if settings.verdict == "accept" and info.verdict is not Verdict.ACCEPT:
                continue
            if chosen.needs_masks and not pairs.has_mask(entry.name, index):
                left_out.append(
                    f"{entry.name}/{info.name}: it has no mask, which {settings.format} needs: mask-dataset"
                )
                continue
            check_names(settings.format, entry.name, info.name)
            tasks.append(
                ExportTask(
                    file=pairs.path,
                    stamp=stamp,
                    scene=entry.name,
                    index=index,
                    name=info.name,
                    split=entry.split,
                    folder=folder,
                    settings=settings,
                )
            )
    _refuse_one_place(tasks)
    return tasks


def _unread(kind: str, splits: Sequence[str]) -> list[str]:
    """Splits that readers of the format do not look for, in words."""
    known = FORMATS[kind].splits
    return [
        f"the reader of {kind} looks for {' and '.join(known)} only: it misses {splits.count(split)} pairs in {split}"
        for split in dict.fromkeys(splits)
        if split not in known
    ]


def _refuse_one_place(tasks: Sequence[ExportTask]) -> None:
    """Different pairs must not become one file, not even where upper and lower case are the same."""
    taken: dict[str, ExportTask] = {}
    for task in tasks:
        place = task.places.blurred.as_posix().lower()
        if place in taken:
            other = taken[place]
            raise LocalblurError(
                f"pairs {other.scene}/{other.name} and {task.scene}/{task.name} would both become"
                f" {task.places.blurred}; rename one or export in another --format"
            )
        taken[place] = task


def _prepare(folder: Path, marker: dict[str, Any], tasks: Sequence[ExportTask], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LocalblurError(f"{folder} is a file; give --output a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        earlier = read_json(folder / MARKER) if (folder / MARKER).is_file() else None
        if earlier != marker:
            what = "a finished export" if isinstance(earlier, dict) and earlier.get("finished") else "other files"
            raise LocalblurError(f"{folder} holds {what}; choose another --output or pass --overwrite")
    elif overwrite and folder.is_dir():
        _remove_earlier(folder, tasks)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MARKER, marker)


def _remove_earlier(folder: Path, tasks: Sequence[ExportTask]) -> None:
    """Remove what would be kept as the work of an interrupted export: pictures in the places of this one, and all of an
    earlier one. What else lies in the folder is somebody's own."""
    for task in tasks:
        for place in (task.places.blurred, task.places.sharp, task.places.mask):
            (folder / place).unlink(missing_ok=True)
    if (folder / MARKER).is_file():
        (folder / CROISSANT).unlink(missing_ok=True)
        for top in TREE_TOPS:
            for path in [*(folder / top).rglob("*.png"), *(folder / top).rglob("metadata.jsonl")]:
                path.unlink()
            for lmdb in (folder / top).glob(f"*{LMDB_SUFFIX}"):
                shutil.rmtree(lmdb)


def _write_metadata(folder: Path, settings: ExportSettings, ordered: Sequence[tuple[str, dict[str, Any]]]) -> None:
    if settings.format != "imagefolder":
        return
    for split in dict.fromkeys(split for split, _ in ordered):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for own, line in ordered if own == split)
        with atomic_path(folder / split / "metadata.jsonl") as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def _size_bytes(pairs: PairsFile, tasks: Sequence[ExportTask], bit_depth: int) -> int:
    """About what PNGs of photographs take: two thirds of their pixels."""
    areas = {entry.name: entry.height * entry.width for entry in pairs.scenes}
    return sum(areas[task.scene] for task in tasks) * 4 * (bit_depth // 8)


def _mask(mask: npt.NDArray[np.uint8], binary: bool) -> npt.NDArray[np.uint8]:
    return np.where(binary_mask(mask), np.uint8(255), np.uint8(0)) if binary else mask


def _png(image: Pixels, task: ExportTask) -> bytes:
    ordered = image[..., ::-1] if image.ndim == 3 else image
    done, content = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not done:
        raise LocalblurError(f"pair {task.scene}/{task.name} cannot be encoded as PNG")
    return content.tobytes()


def _stamp(file: Path) -> str:
    return files_identity(file.parent, [path for path in (file, edits_path(file)) if path.exists()])


@lru_cache(maxsize=1)
def _opened(file: Path, stamp: str) -> PairsFile:
    return PairsFile(file)
