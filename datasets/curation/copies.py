"""New pairs files from old ones: several merged, a part of one, scenes divided anew, pictures compressed anew."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, ensure_space, sync_folder
from localblur.common.settings import Settings
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.copy import FileCopy, SceneCopy, write_copy
from localblur.datasets.storage.hdf5 import LIBVER, reserved, writing
from localblur.datasets.storage.layout import METADATA_BYTES
from localblur.datasets.storage.names import storable_name
from localblur.datasets.storage.reader import PairsFile, SceneEntry
from localblur.datasets.storage.schema import SPLITS, StoreHeader
from localblur.datasets.storage.splits import DEFAULT_SPLIT, assign_splits

NOT_STATED = "not stated"

Step = Callable[[], None]


class SubsetSettings(Settings):
    """Which pairs a subset keeps: those that fulfil every condition that is given.

    Attributes:
        scenes: patterns such as `street*` of which a scene's name fits one; empty for all.
        splits, verdicts: of the pairs; empty for all.
        masked: only pairs with a mask.
        per_scene: at most so many pairs of each scene, evenly spread over it.
    """

    scenes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    masked: bool = False
    per_scene: int | None = None


def merge(
    files: Sequence[Path], output: Path, *, prefix: bool = False, overwrite: bool = False, step: Step = lambda: None
) -> None:
    """Put the pairs of several files into one; every scene keeps its split.

    Where calibrations differ, each is kept under the name of its file.

    Args:
        files: pairs files of one encoding and bit depth.
        output: the file to make.
        prefix: call scenes `FILE-SCENE`, for files that use the same names of scenes.
        overwrite: replace an existing file.
        step: called after each pair.

    Raises:
        LocalblurError: see `write_copy`.
    """
    stems = _different_stems(files)
    with _opened(files) as opened:
        scenes = [
            SceneCopy(
                source=pairs,
                scene=entry.name,
                indices=range(entry.count),
                name=storable_name(f"{stem}-{entry.name}") if prefix else entry.name,
                split=entry.split,
            )
            for stem, pairs in zip(stems, opened, strict=True)
            for entry in pairs.scenes
        ]
        first = opened[0].header
        header = StoreHeader(
            encoding=first.encoding,
            bit_depth=first.bit_depth,
            creator="pairs-file merge",
            source=_joined(pairs.header.source for pairs in opened),
            licence=_joined(pairs.header.licence for pairs in opened),
            settings={"merged": [_origin(pairs) for pairs in opened]},
        )
        content = FileCopy(
            header=header,
            scenes=scenes,
            calibration=_merged({stem: p.calibration() for stem, p in zip(stems, opened, strict=True)}),
            mask_settings=_merged({stem: p.mask_settings or {} for stem, p in zip(stems, opened, strict=True)}) or None,
        )
        write_copy(output, content, overwrite=overwrite, step=step)


def subset(
    file: Path, output: Path, settings: SubsetSettings, *, overwrite: bool = False, step: Step = lambda: None
) -> None:
    """Copy the pairs that `settings` choose into a file of their own.

    Raises:
        LocalblurError: if nothing fits, or as in `write_copy`.
    """
    with PairsFile(file) as pairs:
        scenes = [
            SceneCopy(source=pairs, scene=entry.name, indices=chosen, name=entry.name, split=entry.split)
            for entry in pairs.scenes
            if (chosen := _chosen(pairs, entry, settings))
        ]
        if not scenes:
            known = ", ".join(entry.name for entry in pairs.scenes[:8])
            raise LocalblurError(f"no pair of {file} fits; it has the scenes {known}: see pairs-file inspect {file}")
        _derive(pairs, output, scenes, {"subset": settings.model_dump(mode="json")}, overwrite=overwrite, step=step)


def repack(
    file: Path, output: Path, compression: Compression, *, overwrite: bool = False, step: Step = lambda: None
) -> None:
    """Copy everything into a file with another compression, and of this version's schema.

    Raises:
        LocalblurError: see `write_copy`.
    """
    with PairsFile(file) as pairs:
        scenes = [
            SceneCopy(source=pairs, scene=entry.name, indices=range(entry.count), name=entry.name, split=entry.split)
            for entry in pairs.scenes
        ]
        _derive(pairs, output, scenes, {}, compression=compression, overwrite=overwrite, step=step)


def resplit(file: Path, spec: str = DEFAULT_SPLIT, seed: int = 0, *, stratify: bool = True) -> dict[str, str]:
    """Divide the scenes of a file anew: a copy gets the new splits and takes the file's place.

    Args:
        file: the pairs file.
        spec, seed: see `assign_splits`.
        stratify: give every split scenes with little and with much blurred area, as far as scenes have masks.

    Returns:
        Split by scene.

    Raises:
        LocalblurError: see `assign_splits`.
    """
    with PairsFile(file) as pairs:
        measure = {entry.name: _mean_area(pairs, entry.name) for entry in pairs.scenes}
        assigned = assign_splits(list(measure), spec, seed, measure if stratify else None)
    ensure_space(file, file.stat().st_size, f"a copy of {file.name}")
    with writing(file), atomic_path(file) as copy:
        shutil.copyfile(file, copy)
        with h5py.File(copy, "r+", libver=LIBVER) as stored, reserved(stored, copy, METADATA_BYTES):
            for scene, split in assigned.items():
                stored["scenes"][scene].attrs["split"] = split
            stored.flush()
    sync_folder(file.parent)
    return assigned


def _derive(
    pairs: PairsFile,
    output: Path,
    scenes: Sequence[SceneCopy],
    derived: dict[str, Any],
    *,
    compression: Compression | None = None,
    overwrite: bool,
    step: Step,
) -> None:
    header = pairs.header
    if derived:
        header = header.model_copy(update={"settings": {**header.settings, "derived": derived}})
    content = FileCopy(
        header=header,
        scenes=scenes,
        created=pairs.created,
        calibration=pairs.calibration(),
        mask_settings=pairs.mask_settings,
        compression=compression,
    )
    write_copy(output, content, overwrite=overwrite, step=step)


def _chosen(pairs: PairsFile, entry: SceneEntry, settings: SubsetSettings) -> list[int]:
    if settings.splits and entry.split not in settings.splits:
        return []
    if settings.scenes and not any(fnmatchcase(entry.name, pattern) for pattern in settings.scenes):
        return []
    chosen = [
        index
        for index, info in enumerate(pairs.info(entry.name))
        if (not settings.verdicts or info.verdict in settings.verdicts)
        and (not settings.masked or pairs.has_mask(entry.name, index))
    ]
    if settings.per_scene is not None and len(chosen) > settings.per_scene:
        places = np.linspace(0, len(chosen) - 1, settings.per_scene).round().astype(int)
        chosen = [chosen[place] for place in places.tolist()]
    return chosen


def _mean_area(pairs: PairsFile, scene: str) -> float:
    shares = pairs.blurred_shares(scene)
    known = shares[np.isfinite(shares)]
    return float(known.mean()) if known.size else float("nan")


def _origin(pairs: PairsFile) -> dict[str, Any]:
    header = pairs.header.plain()
    described = {key: header[key] for key in ("creator", "source", "licence", "settings")}
    return {"file": pairs.path.name, "identity": pairs.identity, "created": pairs.created, **described}


def _merged(contents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What several files say, once if all that say something say the same, else under the name of each."""
    said = {name: content for name, content in contents.items() if content}
    if len(said) == len(contents) and len({_fingerprint(content) for content in said.values()}) == 1:
        return dict(next(iter(said.values())))
    return {name: dict(content) for name, content in said.items()}


def _fingerprint(content: Any) -> str:
    def plain(value: Any) -> Any:
        return [value.dtype.str, value.shape, value.tobytes().hex()] if isinstance(value, np.ndarray) else str(value)

    return json.dumps(content, sort_keys=True, default=plain)


def _joined(values: Iterator[str]) -> str:
    different = dict.fromkeys(value for value in values if value)
    return "; ".join(different) or NOT_STATED


def _different_stems(files: Sequence[Path]) -> list[str]:
    if not files:
        raise LocalblurError("nothing to merge: give at least one pairs file")
    resolved = [file.resolve() for file in files]
    for number, file in enumerate(resolved):
        if file in resolved[:number]:
            raise LocalblurError(f"{files[number]} is given twice")
    stems: list[str] = []
    for file in files:
        stem, number = storable_name(file.stem), 2
        while stem in stems:
            stem, number = storable_name(file.stem, f"-{number}"), number + 1
        stems.append(stem)
    return stems


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[list[PairsFile]]:
    with ExitStack() as stack:
        yield [stack.enter_context(PairsFile(file)) for file in files]


def split_line(pairs: PairsFile) -> str:
    """How many scenes and pairs each split has, in words."""
    entries = pairs.scenes
    counts = [
        (split, [entry.count for entry in entries if entry.split == split])
        for split in SPLITS
        if any(entry.split == split for entry in entries)
    ]
    return "; ".join(f"{split}: {sum(found)} pairs in {len(found)} scenes" for split, found in counts)
