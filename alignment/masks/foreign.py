"""Taking over masks that somebody else made: published ones, hand-drawn ones, those of another pairs file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from localblur.alignment.masks.set import Binary, Key, MaskSet
from localblur.common.errors import LocalblurError
from localblur.common.parallel import with_progress
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import MasksWriter, PairsFile


@dataclass
class Imported:
    """What came of it: blurred shares of the masks taken over, how many pairs kept theirs, and what was left out.

    `missing` are the pairs the other set has no mask for, `unused` how many of its masks fit no pair, `failures` the
    masks that could not be used, in words.
    """

    shares: list[float] = field(default_factory=list)
    kept: int = 0
    missing: list[str] = field(default_factory=list)
    unused: int = 0
    failures: list[str] = field(default_factory=list)


def import_masks(path: Path, source: Path, binary: Binary = "half", *, overwrite: bool = False) -> Imported:
    """Give the pairs of a file the masks of another set, matched by scene and name, see `MaskSet`.

    Sizes must agree: masks are not resampled. The file says where its masks are from (`mask_settings`), and changes
    only at a good end; the same call continues an interrupted one.

    Args:
        path: the pairs file; pairs that have a mask keep it unless `overwrite`.
        source: pairs file, or folder of pictures or plain `.npy` arrays.
        binary: what counts as blurred, key of `BINARY`; `half` keeps soft masks soft.
        overwrite: replace masks, drawn by hand perhaps.

    Raises:
        LocalblurError: if not one mask can be taken over, or every pair has one.
    """
    others = MaskSet(source, binary)
    with PairsFile.open(path) as pairs:
        places = [(entry.name, index, name) for entry in pairs.scenes for index, name in _named(pairs, entry.name)]
        wanted = [(scene, name) for scene, index, name in places if overwrite or not pairs.has_mask(scene, index)]
        sizes = {entry.name: (entry.height, entry.width) for entry in pairs.scenes}
    if not wanted:
        raise LocalblurError(f"all {len(places)} pairs of {path} have a mask; pass --overwrite to replace them")
    known = set(others.keys)
    result = Imported(kept=len(places) - len(wanted), unused=len(known - {(scene, name) for scene, _, name in places}))
    result.missing = [f"{scene}/{name}" for scene, name in wanted if (scene, name) not in known]
    found = [key for key in wanted if key in known]
    if not found:
        raise LocalblurError(
            f"{source} has no mask for a pair of {path}; the file wants {'/'.join(wanted[0])}, the other set has"
            f" {'/'.join(others.keys[0])}"
        )
    stated = {"method": "imported", "from": str(source.resolve()), "binary": binary}
    with MasksWriter(path, stated) as writer:
        for key in with_progress(found, len(found), "import masks", "mask"):
            try:
                result.shares.append(_take_over(key, others, sizes[key[0]], writer))
            except LocalblurError as error:
                result.failures.append(f"{'/'.join(key)}: {' '.join(str(error).split())}")
        if not result.shares:
            writer.drop()
    if not result.shares:
        raise LocalblurError(f"not one mask of {source} can be used: {'; '.join(result.failures[:3])}")
    return result


def _named(pairs: PairsFile, scene: str) -> list[tuple[int, str]]:
    return list(enumerate(pairs.names(scene)))


def _take_over(key: Key, others: MaskSet, size: tuple[int, int], writer: MasksWriter) -> float:
    """Leave one mask with the writer; its blurred share."""
    mask = others.read(key)
    if mask.shape != size:
        raise LocalblurError(
            f"the mask is {mask.shape[1]}x{mask.shape[0]}, the pair {size[1]}x{size[0]}; masks are not resampled"
        )
    if mask.max() == 1:
        raise LocalblurError("the mask is stored as 0 and 1; pass --binary nonzero")
    writer.add(*key, mask, others.confidence(key))
    return float(np.mean(binary_mask(mask)))
