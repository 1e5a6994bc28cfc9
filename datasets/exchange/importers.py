"""Finding the pairs of data sets that other people made: one `Layout` per data set, in the table `LAYOUTS`.

Most layouts are patterns over the paths of pictures; RealBlur and RSBlur come with lists. Nothing is read here but
names and lists: pictures are decoded, and damage is found, when they are imported.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from localblur.common.errors import LocalblurError
from localblur.common.files import inside
from localblur.datasets.images import IMAGE_SUFFIXES
from localblur.datasets.pair import PairInfo
from localblur.datasets.storage.reader import natural_key

Role = Literal["blurred", "sharp", "mask"]

BLURRED_SHARP: Mapping[str, Role] = MappingProxyType(
    {
        "blur": "blurred",
        "blurred": "blurred",
        "input": "blurred",
        "lq": "blurred",
        "sharp": "sharp",
        "target": "sharp",
        "gt": "sharp",
        "mask": "mask",
        "masks": "mask",
    }
)
FOLDER_ENDINGS = ("blur", "blurred", "sharp", "mask")


@dataclass(frozen=True)
class PairFiles:
    """The pictures of one pair; `scene` and `name` as found, not yet made fit to be stored.

    Attributes:
        scene, name: as found.
        blurred, sharp, mask: where the pictures are; of an LMDB the path `NAME.lmdb/KEY`, see `picture_source`.
        split: train, val or test as published; None where the data set says nothing.
        details: what else is known about the pair.
    """

    scene: str
    name: str
    blurred: Path
    sharp: Path
    mask: Path | None = None
    split: str | None = None
    details: PairInfo | None = None

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return f"{self.scene}/{self.name}"

    @property
    def pictures(self) -> list[Path]:
        """All pictures of the pair."""
        return [picture for picture in (self.blurred, self.sharp, self.mask) if picture is not None]


@dataclass
class FoundPairs:
    """What a layout found: pairs in natural order, and what it had to leave out, in words."""

    pairs: list[PairFiles] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LayoutOptions:
    """What the user chooses: `variant`, see `Layout.variants`; `masks`, a folder of masks that lies elsewhere."""

    variant: str | None = None
    masks: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where pictures of a data set lie.

    Attributes:
        pattern: for the end of a picture's path, with the groups `name` and `role`, and `scene` and `split` if there
            are any; `role` may be absent if `roles` has one entry.
        roles: what the values of the group `role` mean.
    """

    pattern: re.Pattern[str]
    roles: Mapping[str, Role]


Finder = Callable[[Path, LayoutOptions], FoundPairs]
SPLIT_NAMES: Mapping[str, str] = MappingProxyType({"train": "train", "test": "test", "val": "val", "valid": "val"})


def place(pattern: str, roles: Mapping[str, Role]) -> Place:
    """A `Place` whose pattern has to fit from the beginning of a folder's name."""
    return Place(pattern=re.compile(f"(?:.*/)?{pattern}", re.IGNORECASE), roles=MappingProxyType(dict(roles)))


def find_by_places(root: Path, places: Sequence[Place], scene: str, expected: str) -> FoundPairs:
    """Pairs whose pictures lie in `places`; the first that fits counts, other pictures are passed over.

    Args:
        root: the folder of the data set, or one above it.
        places: where to look.
        scene: name of the scene of pictures whose place has none.
        expected: what the folder should hold, for the message if there is nothing.

    Raises:
        LocalblurError: if `root` is no folder, or holds no picture in any place.
    """
    if not root.is_dir():
        raise LocalblurError(f"{root} is not a folder; give the folder that holds the data set")
    found = FoundPairs()
    roles: dict[tuple[str | None, str, str], dict[Role, Path]] = {}
    for path in pictures_below(root, found.left_out):
        placed = _placed(path.relative_to(root).as_posix(), places, scene)
        if placed is None:
            continue
        key, role = placed
        known = roles.setdefault(key, {})
        if role in known:
            found.left_out.append(f"{_shown(root, path)}: a second {role} picture of {key[1]}/{key[2]}")
        else:
            known[role] = path
    if not roles and not found.left_out:
        raise LocalblurError(f"{root} holds no pairs: expected {expected}")
    match_roles(root, roles, found)
    return found


def find_folder_pairs(root: Path, options: LayoutOptions | None = None) -> FoundPairs:
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
    expected = "NAME_blur.png beside NAME_sharp.png, or folders blur and sharp with equal names"
    endings: Mapping[str, Role] = {key: role for key, role in BLURRED_SHARP.items() if key in FOLDER_ENDINGS}
    skipped = r"(?!(?:calibration|truth)/)(?:scenes/)?"
    places = [
        Place(
            pattern=re.compile(rf"{skipped}(?:(?P<scene>.+)/)?(?P<name>[^/]+)_(?P<role>[a-z]+)\.[a-z]+", re.IGNORECASE),
            roles=MappingProxyType(endings),
        ),
        Place(
            pattern=re.compile(rf"{skipped}(?:(?P<scene>.+)/)?(?P<role>[a-z]+)/(?P<name>[^/]+)\.[a-z]+", re.IGNORECASE),
            roles=BLURRED_SHARP,
        ),
    ]
    return find_by_places(root, places, root.resolve().name or "pairs", expected)


def match_roles(root: Path, roles: Mapping[tuple[str | None, str, str], dict[Role, Path]], found: FoundPairs) -> None:
    """Make pairs of pictures by (split, scene, name); what lacks a partner is told in `found.left_out`."""
    for key in sorted(roles, key=lambda key: (key[0] or "", natural_key(key[1]), natural_key(key[2]))):
        split, scene, name = key
        known = roles[key]
        blurred, sharp = known.get("blurred"), known.get("sharp")
        if blurred is not None and sharp is not None:
            found.pairs.append(PairFiles(scene, name, blurred, sharp, known.get("mask"), split))
        else:
            present = blurred or sharp or known["mask"]
            missing = " and ".join(role for role, path in (("blurred", blurred), ("sharp", sharp)) if path is None)
            found.left_out.append(f"{_shown(root, present)}: it has no {missing} partner")


def find_by_lists(root: Path, lists: Mapping[str, str], key: re.Pattern[str]) -> FoundPairs:
    """Pairs that list files name: `SHARP BLURRED` on each line, relative to `root` or to the folder above.

    Args:
        root: the folder that holds lists and pictures.
        lists: names of the lists by split; those that are there are read.
        key: pattern with the groups `scene` and `name` for the path of the sharp picture.

    Raises:
        LocalblurError: if `root` is no folder, or has none of the lists.
    """
    if not root.is_dir():
        raise LocalblurError(f"{root} is not a folder; give the folder that holds the data set and its lists")
    present = {split: path for split, name in lists.items() if (path := _list_file(root, name)) is not None}
    if not present:
        raise LocalblurError(f"{root} has none of the lists {', '.join(lists.values())}; put them beside the pictures")
    found = FoundPairs()
    for split, path in present.items():
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            try:
                found.pairs.append(_listed_pair(root, line.split(), key, split))
            except LocalblurError as error:
                found.left_out.append(f"{path.name}, line {number}: {error}")
    return found


def _listed_pair(root: Path, words: list[str], key: re.Pattern[str], split: str) -> PairFiles:
    if len(words) != 2:
        raise LocalblurError(f"need 'SHARP BLURRED', got {' '.join(words)[:120]!r}")
    fits = key.search(words[0])
    if fits is None:
        raise LocalblurError(f"{words[0][:120]!r} is no sharp picture of this data set")
    sharp, blurred = (_listed_file(root, word) for word in words)
    return PairFiles(fits["scene"], fits["name"], blurred, sharp, None, split)


def _listed_file(root: Path, relative: str) -> Path:
    """The file itself, or where the list was put one folder deeper."""
    _, _, below = relative.partition("/")
    try:
        return listed_file(root, relative)
    except LocalblurError:
        if not below:
            raise
    try:
        return listed_file(root, below)
    except LocalblurError:
        return listed_file(root, relative)  # says what the list says


def _list_file(root: Path, name: str) -> Path | None:
    return next((path for path in sorted(root.rglob(name)) if path.is_file()), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read the list {path}: {error}") from error


def _placed(relative: str, places: Sequence[Place], scene: str) -> tuple[tuple[str | None, str, str], Role] | None:
    for candidate in places:
        fits = candidate.pattern.fullmatch(relative)
        if fits is None:
            continue
        groups = fits.groupdict()
        role = candidate.roles.get((groups.get("role") or "").lower())
        if role is not None:
            split = SPLIT_NAMES.get((groups.get("split") or "").lower())
            return (split, groups.get("scene") or scene, groups["name"]), role
    return None


def pictures_below(root: Path, left_out: list[str]) -> Iterator[Path]:
    """Every picture below `root`, in order; links that leave it are told in `left_out`, links to folders too."""

    def refuse(error: OSError) -> None:
        left_out.append(f"{_shown(root, Path(error.filename))}: cannot be read ({error.strerror})")

    allowed = root.resolve()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=False):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        left_out += [f"{_shown(root, here / n)}: a link to a folder" for n in subfolders if (here / n).is_symlink()]
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if path.is_symlink() and not _ends_inside(path, allowed):
                left_out.append(f"{_shown(root, path)}: a link that leaves the folder, or leads nowhere")
            else:
                yield path


def _ends_inside(link: Path, allowed: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(allowed)
    except (OSError, RuntimeError):  # it leads to nothing or, until Python 3.12 a RuntimeError, to itself
        return False


def listed_file(root: Path, relative: str) -> Path:
    """The file `relative` that a list in `root` names.

    Raises:
        LocalblurError: if it is missing, or lies outside `root`.
    """
    try:
        path = inside(root, relative)
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a loop of links, a zero byte
        raise LocalblurError(f"{relative[:120]!r} cannot be a file: {' '.join(str(error).split())[:120]}") from error
    raise LocalblurError(f"{relative[:120]} is missing")


def _shown(root: Path, path: Path) -> str:
    """`path` relative to `root`, for messages."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
