"""Finding the pairs of data sets that other people made: one function per folder layout, in the table `LAYOUTS`."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES
from localblur.datasets.store_reader import natural_key

Role = Literal["blurred", "sharp", "mask"]

FOLDER_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "blur": "blurred",
        "blurred": "blurred",
        "input": "blurred",
        "sharp": "sharp",
        "target": "sharp",
        "gt": "sharp",
        "mask": "mask",
        "masks": "mask",
    }
)
NAME_ENDINGS: Mapping[str, Role] = MappingProxyType(
    {"_blur": "blurred", "_blurred": "blurred", "_sharp": "sharp", "_mask": "mask"}
)
IGNORED_FOLDERS = ("calibration", "truth")
"""Parts of a plain pair folder that are no pairs to train on."""


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair; `scene` and `name` as found, not yet made fit to be stored."""

    scene: str
    name: str
    blurred: Path
    sharp: Path
    mask: Path | None = None

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return f"{self.scene}/{self.name}"


@dataclass
class FoundPairs:
    """What a layout found: pairs in natural order, and what it had to leave out, in words."""

    pairs: list[PairFiles] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def find_folder_pairs(root: Path) -> FoundPairs:
    """Pairs of plain pictures, wherever they lie below `root`. Three forms are understood, also mixed:

    - `NAME_blur.png` (or `_blurred`) beside `NAME_sharp.png`, with `NAME_mask.png` if there is one;
    - folders `blur`, `blurred` or `input` beside `sharp`, `target` or `gt` with equal file names, and `mask` or
      `masks` if there is one;
    - the plain pair folder: the first form in `scenes/<scene>/`; `calibration` and `truth` are passed over.

    Every folder that holds pairs is a scene. Other pictures are passed over. Links that leave `root` are refused, links
    to folders are not followed.

    Raises:
        LocalblurError: if `root` is no folder, or holds no pictures of any of these forms.
    """
    if not root.is_dir():
        raise LocalblurError(f"{root} is not a folder; give the folder that holds the pairs")
    found = FoundPairs()
    files: dict[tuple[str, str], dict[Role, Path]] = {}
    for path in _pictures(root, found.left_out):
        placed = _place(root, path)
        if placed is None:
            continue
        scene, name, role = placed
        roles = files.setdefault((scene, name), {})
        if role in roles:
            found.left_out.append(f"{_shown(root, path)}: a second {role} picture of {scene}/{name}")
        else:
            roles[role] = path
    if not files and not found.left_out:
        raise LocalblurError(
            f"{root} holds no pairs: expected NAME_blur.png beside NAME_sharp.png, or folders blur and sharp with equal"
            " names"
        )
    for scene, name in sorted(files, key=lambda key: (natural_key(key[0]), natural_key(key[1]))):
        _match(root, scene, name, files[scene, name], found)
    return found


LAYOUTS: Mapping[str, Callable[[Path], FoundPairs]] = MappingProxyType({"folder": find_folder_pairs})
"""Layouts by the name that `import-dataset` takes. A new layout is one function, one line here, one test."""


def _pictures(root: Path, left_out: list[str]) -> Iterator[Path]:
    """Every picture below `root`, in order; links that leave it are told in `left_out`."""

    def refuse(error: OSError) -> None:
        left_out.append(f"{_shown(root, Path(error.filename))}: cannot be read ({error.strerror})")

    inside = root.resolve()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=False):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        left_out += [f"{_shown(root, here / n)}: a link to a folder" for n in subfolders if (here / n).is_symlink()]
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                left_out.append(f"{_shown(root, path)}: a link that leaves the folder")
            else:
                yield path


def _place(root: Path, path: Path) -> tuple[str, str, Role] | None:
    """Scene, pair name and role of a picture; None if it has no role."""
    parts = path.parent.relative_to(root).parts
    if parts and parts[0].lower() in IGNORED_FOLDERS:
        return None
    parts = parts[1:] if parts[:1] == ("scenes",) else parts
    for ending, role in NAME_ENDINGS.items():
        if path.stem.lower().endswith(ending) and len(path.stem) > len(ending):
            return _scene(root, parts), path.stem[: -len(ending)], role
    if parts and parts[-1].lower() in FOLDER_ROLES:
        return _scene(root, parts[:-1]), path.stem, FOLDER_ROLES[parts[-1].lower()]
    return None


def _scene(root: Path, parts: tuple[str, ...]) -> str:
    return "/".join(parts) or root.resolve().name or "pairs"


def _match(root: Path, scene: str, name: str, roles: dict[Role, Path], found: FoundPairs) -> None:
    blurred, sharp = roles.get("blurred"), roles.get("sharp")
    if blurred is not None and sharp is not None:
        found.pairs.append(PairFiles(scene, name, blurred, sharp, roles.get("mask")))
    else:
        present = blurred or sharp or roles["mask"]
        missing = " and ".join(role for role, path in (("blurred", blurred), ("sharp", sharp)) if path is None)
        found.left_out.append(f"{_shown(root, present)}: it has no {missing} partner")


def _shown(root: Path, path: Path) -> str:
    """`path` relative to `root`, for messages."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
