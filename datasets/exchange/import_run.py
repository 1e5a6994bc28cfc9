"""Importing the pairs that a layout found: read by workers, written by one writer, what cannot be used is told."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.parallel import run_tasks
from localblur.common.settings import Settings
from localblur.datasets.exchange.importers import FoundPairs, LayoutOptions, PairFiles
from localblur.datasets.exchange.layouts import LAYOUTS, count_notes
from localblur.datasets.exchange.picture_source import file_of, read_mask_source, read_source, size_of
from localblur.datasets.exchange.tree_terms import Terms, terms_of_tree
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.names import storable_name
from localblur.datasets.store import (
    DEFAULT_SPLIT,
    PairsFile,
    PairsWriter,
    StoreHeader,
    assign_splits,
    files_identity,
    write_part,
)

TASKS_AHEAD = 64
"""As many workers can be busy. What they give back is little: their pictures are in parts."""


class ImportSettings(Settings):
    """How a data set is imported; stored in the file.

    Attributes:
        layout: a name of `LAYOUTS`.
        variant: which of a data set's kinds of blurred pictures, see `Layout.variants`.
        encoding: how the files code light; None: sRGB for 8-bit files, while 16-bit files must state it.
        source, licence: where the pictures come from, and on what terms, in words; None: what the layout knows.
        split: shares of the splits or a file, see `assign_splits`; None: as published, else by the usual shares.
        seed: seed of the shares.
    """

    layout: str = "folder"
    variant: str | None = None
    encoding: Literal["srgb", "linear"] | None = None
    source: str | None = None
    licence: str | None = None
    split: str | None = None
    seed: int = 0


@dataclass
class Imported:
    """What came of it: pairs, scenes and masks in the file, what was left out, and what is missing, in words."""

    pairs: int = 0
    scenes: int = 0
    masks: int = 0
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ImportTask:
    """One pair for a worker: its pictures, how it will be called, and what it has to be like."""

    files: PairFiles
    scene: str
    name: str
    split: str
    bit_depth: int
    any_mark: bool
    parts: Path


@dataclass(frozen=True, kw_only=True)
class ReadPair:
    """What a worker made of a task: the part it wrote, whether with a mask, and what it had to leave out."""

    part: Path
    masked: bool
    left_out: str | None = None


def import_dataset(
    path: Path,
    output: Path,
    settings: ImportSettings,
    *,
    masks: Path | None = None,
    compression: Compression = "gzip",
    overwrite: bool = False,
    executor: Executor | None = None,
    step: Callable[[str], None] = lambda _: None,
    begin: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Import a data set; what cannot be used is left out and told, an interrupted run continues.

    Args:
        path: its folder.
        output: the pairs file to make.
        settings: see there.
        masks: a folder of masks that lies elsewhere, for layouts that take one.
        compression: of the pictures in `output`.
        overwrite: replace an existing file.
        executor: reads pictures; None reads them here.
        step: called with the name of each pair when it is done; `begin` once before with how many there will be.

    Raises:
        LocalblurError: if no pair can be imported, or `output` exists.
    """
    layout = LAYOUTS[settings.layout]
    own = terms_of_tree(path)
    found = layout.find(path, LayoutOptions(variant=settings.variant, masks=masks))
    result = Imported(left_out=list(found.left_out), notes=[] if own else count_notes(layout, found.pairs))
    header = _header(path, found, settings, own)
    writer = PairsWriter(
        output,
        header,
        overwrite=overwrite,
        compression=compression,
        identity={"inputs": _identity(path, found.pairs)},
    )
    with writer:
        tasks = _tasks(found.pairs, settings, header, writer, result.left_out)
        begin(len(tasks))
        failed: dict[str, str] = {}
        for task, read in run_tasks(read_pair, tasks, executor, ahead=TASKS_AHEAD):
            step(task.files.label)
            try:
                if isinstance(read, Exception):
                    raise read
                writer.fold(read.part)
                if read.left_out is not None:
                    failed[task.files.label] = read.left_out
            except LocalblurError as error:
                failed[task.files.label] = f"{task.files.label}: {error}"
        result.left_out += [failed[task.files.label] for task in tasks if task.files.label in failed]
        if not writer.finished:
            raise LocalblurError(f"no pair of {path} can be imported: {'; '.join(result.left_out[:5])}")
    with PairsFile(output, edits=False) as pairs:
        result.pairs = sum(entry.count for entry in pairs.scenes)
        result.scenes, result.masks = len(pairs.scenes), sum(entry.masked for entry in pairs.scenes)
    return result


def read_pair(task: ImportTask) -> ReadPair:
    """Read the pictures of a pair and leave it as a part; runs in workers.

    Raises:
        LocalblurError: if a picture cannot be read, or they do not fit together.
    """
    files = task.files
    blurred, sharp = read_source(files.blurred), read_source(files.sharp)
    if blurred.shape != sharp.shape:
        raise LocalblurError(f"blurred is {_size(blurred)} but sharp is {_size(sharp)}; a pair has one size")
    for role, image in (("blurred", blurred), ("sharp", sharp)):
        if 8 * image.dtype.itemsize != task.bit_depth:
            raise LocalblurError(
                f"{role} is {8 * image.dtype.itemsize} bit but the others are {task.bit_depth} bit; import them apart"
            )
    mask, left_out = None, None
    if files.mask is not None:
        try:
            mask = _read_mask(files.mask, blurred.shape[:2], task.any_mark)
        except LocalblurError as error:
            left_out = f"{files.label}: imported without its mask: {error}"
    info = replace(files.details or PairInfo(name="", verdict=Verdict.ACCEPT), name=task.name)
    pair = Pair(scene=task.scene, info=info, blurred=blurred, sharp=sharp, mask=mask)
    return ReadPair(part=write_part(task.parts, pair, task.split), masked=mask is not None, left_out=left_out)


def _header(path: Path, found: FoundPairs, settings: ImportSettings, own: Terms | None) -> StoreHeader:
    layout = LAYOUTS[settings.layout]
    bit_depth, encoding = _depth_and_encoding(found, settings)
    published = layout.title if layout.citation else None
    terms = own or Terms(source=published, licence=layout.licence, citation=layout.citation or None)
    licence = settings.licence if settings.licence is not None else terms.licence
    content = settings.model_dump(mode="json") | {"encoding": encoding, "licence": licence}
    return StoreHeader(
        encoding=encoding,
        bit_depth=bit_depth,
        creator="import-dataset",
        source=settings.source or terms.source or path.resolve().name,
        licence=licence,
        settings=content | ({"citation": terms.citation} if terms.citation else {}),
    )


def _depth_and_encoding(
    found: FoundPairs, settings: ImportSettings
) -> tuple[Literal[8, 16], Literal["srgb", "linear"]]:
    """Decided by the first picture that can be read; pictures of another depth will be left out."""
    for files in found.pairs:
        try:
            wide = read_source(files.blurred).dtype == np.uint16
        except LocalblurError:
            continue  # told when its turn comes
        if wide and settings.encoding is None:
            raise LocalblurError(
                f"{files.blurred} is 16 bit, which does not say how it codes light: give --encoding srgb or linear"
            )
        return (16 if wide else 8), settings.encoding or "srgb"
    unreadable = [f"{files.label}: cannot be read" for files in found.pairs]
    raise LocalblurError("no pair can be imported: " + "; ".join([*found.left_out, *unreadable][:5]))


def _tasks(
    pairs: Sequence[PairFiles],
    settings: ImportSettings,
    header: StoreHeader,
    writer: PairsWriter,
    left_out: list[str],
) -> list[ImportTask]:
    """What is left to do. A pair of another size than its scene's first goes into a scene of its own."""
    scenes = storable_scenes(pairs)
    splits = _splits(pairs, scenes, settings)
    any_mark = LAYOUTS[settings.layout].any_mark
    sizes: dict[str, tuple[int, int] | None] = {}
    taken: set[tuple[str, str]] = set()
    tasks = []
    for files in pairs:
        base = scene = scenes[files.split, files.scene]
        size = size_of(files.blurred)
        first = sizes.setdefault(base, size) or size
        sizes[base] = first
        if size is not None and size != first:
            scene = storable_name(base, f"_{size[1]}x{size[0]}")
        key = (scene, storable_name(files.name))
        if key in taken:
            left_out.append(f"{files.label}: its storable name {'/'.join(key)} is taken by another pair; rename it")
            continue
        taken.add(key)
        if key not in writer.finished:
            tasks.append(
                ImportTask(
                    files=files,
                    scene=scene,
                    name=key[1],
                    split=splits[base],
                    bit_depth=header.bit_depth,
                    any_mark=any_mark,
                    parts=writer.parts,
                )
            )
    return tasks


def storable_scenes(pairs: Sequence[PairFiles]) -> dict[tuple[str | None, str], str]:
    """A different storable name for every (split, scene) as found: a scene is never divided between splits."""
    names: dict[tuple[str | None, str], str] = {}
    for split, scene in dict.fromkeys((files.split, files.scene) for files in pairs):
        name, number = storable_name(scene), 2
        if name in names.values() and split is not None:
            name = storable_name(scene, f"-{split}")
        while name in names.values():
            name, number = storable_name(scene, f"-{number}"), number + 1
        names[split, scene] = name
    return names


def _splits(
    pairs: Sequence[PairFiles], scenes: dict[tuple[str | None, str], str], settings: ImportSettings
) -> dict[str, str]:
    published = {name: split for (split, _), name in scenes.items() if split is not None}
    if settings.split is not None:
        return assign_splits(list(scenes.values()), settings.split, settings.seed)
    open_scenes = [name for name in scenes.values() if name not in published]
    return published | (assign_splits(open_scenes, DEFAULT_SPLIT, settings.seed) if open_scenes else {})


def _read_mask(source: Path, shape: tuple[int, ...], any_mark: bool) -> npt.NDArray[np.uint8]:
    """A mask as stored: 8 bit, 128 and above is blurred; masks of zeros and ones are stretched."""
    plane = read_mask_source(source)
    if plane.shape != shape:
        raise LocalblurError(f"{source} is {_size(plane)}, the pictures are {shape[1]}x{shape[0]}")
    if any_mark:
        return np.where(plane > 0, np.uint8(255), np.uint8(0))
    if plane.dtype == np.uint16:
        plane = plane >> 8 if plane.max() > 255 else plane
    if plane.max() == 1:
        plane = plane * 255
    return np.asarray(plane, np.uint8)


def _identity(path: Path, pairs: Sequence[PairFiles]) -> str:
    files = [file_of(picture) for pair in pairs for picture in pair.pictures]
    below = [file for file in files if file.is_relative_to(path)]
    elsewhere = {file.resolve() for file in files} - {file.resolve() for file in below}
    masks = [files_identity(Path(anchor), elsewhere) for anchor in {file.anchor for file in elsewhere}]
    return ", masks: ".join([f"{path.resolve()}, {files_identity(path, below)}", *masks])


def _size(image: npt.NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
