"""Public data sets as they are published: where their pictures lie, how many there are, on what terms.

Trees, counts and terms are those of the repositories and papers named in `citation`; `docs/datasets.md` lists them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.imagefolder import find_imagefolder_pairs
from localblur.datasets.exchange.importers import (
    BLURRED_SHARP,
    FoundPairs,
    LayoutOptions,
    PairFiles,
    Role,
    find_by_lists,
    find_by_places,
    find_folder_pairs,
    match_roles,
    place,
)
from localblur.datasets.exchange.lmdb_check import check_lmdb

GOPRO_VARIANTS = ("blur", "blur_gamma")
REDS_VARIANTS = ("blur", "blur_jpeg", "blur_comp")
MASK_ROLE: Mapping[str, Role] = MappingProxyType({"": "mask"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set, or a way of storing one.

    Attributes:
        title: its name, and what it is.
        find: finds the pairs below a folder.
        variants: between which of its kinds of blurred pictures the user must choose; empty where there is no choice.
        counts: pairs by split as published.
        licence: the terms as its makers state them.
        citation: whom to cite.
        any_mark: whether masks mark blurred pixels by any value above 0, instead of by 128 and above.
    """

    title: str
    find: Callable[[Path, LayoutOptions], FoundPairs]
    variants: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    licence: str = "not stated"
    citation: str = ""
    any_mark: bool = False


def count_notes(layout: Layout, pairs: Sequence[PairFiles]) -> list[str]:
    """What is missing of the published pairs, in words."""
    found = Counter(pair.split for pair in pairs)
    return [
        f"{split}: {found[split]} pairs found, {count} are published ({abs(count - found[split])}"
        f" {'missing' if found[split] < count else 'more'})"
        for split, count in layout.counts.items()
        if found[split] != count
    ]


def find_gopro_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """GoPro: the published tree, or one of the two flat repacks (`blur|sharp`, `input|target`)."""
    variants: Mapping[str, Role] = {options.variant or "": "blurred", "sharp": "sharp", "mask": "mask"}
    tree = place(
        r"(?P<split>train|val|test)/(?P<scene>[^/]+)/(?P<role>blur|blur_gamma|sharp|mask)/(?P<name>[^/]+)\.png",
        variants,
    )
    flat = place(
        r"(?P<split>train|val|test)/(?P<role>blur|sharp|input|target|mask)/(?P<scene>[^/]+)[-_](?P<name>[^/_-]+)\.png",
        BLURRED_SHARP,
    )
    found = find_by_places(root, [tree, flat], "GoPro", "{train,test}/GOPRxxxx_xx_xx/{blur,sharp}/NNNNNN.png")
    return _with_variant(root, found, options, GOPRO_VARIANTS)


def find_hide_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """HIDE as repacked for testing: `input` and `target` with equal names such as `100fromGOPR1055.MP4.png`."""
    video = place(r"(?P<role>input|target)/(?P<name>\d+)from(?P<scene>[^/]+?)(?:\.MP4)?\.png", BLURRED_SHARP)
    other = place(r"(?P<role>input|target)/(?P<name>[^/]+)\.png", BLURRED_SHARP)
    return _in_split(find_by_places(root, [video, other], "HIDE", "{input,target}/NAME.png"), "test")


def find_realblur_pairs(kind: str) -> Callable[[Path, LayoutOptions], FoundPairs]:
    """RealBlur-J or -R by its lists."""
    lists = {split: f"RealBlur_{kind}_{split}_list.txt" for split in ("train", "test")}

    def find(root: Path, options: LayoutOptions) -> FoundPairs:
        return find_by_lists(root, lists, re.compile(r"(?P<scene>scene[^/]*)/gt/gt_(?P<name>[^/.]+)\.\w+$"))

    return find


def find_rsblur_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """RSBlur by its lists of real pairs."""
    lists = {split: f"RSBlur_real_{split}.txt" for split in ("train", "val", "test")}
    return find_by_lists(root, lists, re.compile(r"(?P<scene>[^/]+)/(?P<name>[^/]+)/gt/[^/]+$"))


def find_reloblur_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """ReLoBlur with its masks; `options.masks` is a folder of other masks with the tree below `masks`."""
    pictures = place(
        r"dataset[^/]*/(?P<split>train|val|test)/(?P<scene>[^/]+)/(?P<name>[^/]+)/(?P=name)_(?P<role>sharp|blur)\.png",
        BLURRED_SHARP,
    )
    below = r"(?P<split>train|val|test)/(?P<scene>[^/]+)/(?P<name>[^/]+)/(?P=name)\.png"
    masks = place(rf"masks[^/]*/{below}", MASK_ROLE)
    expected = "dataset/{train,test}/sNN/NN/NN_{sharp,blur}.png and masks/{train,test}/sNN/NN/NN.png"
    found = find_by_places(root, [pictures, masks] if options.masks is None else [pictures], "ReLoBlur", expected)
    return found if options.masks is None else _with_masks(found, options.masks)


def find_bsd_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """BSD: any of its three exposures; their sequences are told apart by the name of the set."""
    tree = place(
        r"(?P<scene>BSD_[^/]+/(?P<split>train|valid|test)/[^/]+)/(?P<role>Blur|Sharp)/RGB/(?P<name>\d+)\.png",
        BLURRED_SHARP,
    )
    bare = place(
        r"(?P<scene>(?P<split>train|valid|test)/[^/]+)/(?P<role>Blur|Sharp)/RGB/(?P<name>\d+)\.png", BLURRED_SHARP
    )
    expected = "BSD_xmsyms/{train,valid,test}/SEQ/{Blur,Sharp}/RGB/NNNNNNNN.png"
    return find_by_places(root, [tree, bare], "BSD", expected)


def find_reds_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """REDS: frames of the variant chosen beside the sharp ones."""
    variants: Mapping[str, Role] = {options.variant or "": "blurred", "sharp": "sharp"}
    tree = place(
        r"(?P<split>train|val)_(?P<role>sharp|blur|blur_jpeg|blur_comp)/(?P<scene>\d+)/(?P<name>\d+)\.(?:png|jpg)",
        variants,
    )
    found = find_by_places(root, [tree], "REDS", "{train,val}/{train,val}_{blur,sharp}/SEQ/NNNNNNNN.png")
    return _with_variant(root, found, options, REDS_VARIANTS)


def find_lmdb_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """LMDBs as BasicSR and NAFNet make them: two (or three) folders `NAME.lmdb` with equal keys in `meta_info.txt`.

    A folder's name says what it holds: blur, input or lq; sharp, target or gt; mask. The folder above may be named
    after a split; only LMDBs side by side belong together. Keys end with the pair's number; what stands before it is
    the scene.
    """
    if not root.is_dir():
        raise LocalblurError(f"{root} is not a folder; give the folder that holds the LMDBs")
    found = FoundPairs()
    folders = sorted(path for path in root.rglob("*.lmdb") if path.is_dir())
    for parent in dict.fromkeys(folder.parent for folder in folders):
        roles: dict[tuple[str | None, str, str], dict[Role, Path]] = {}
        for folder in (folder for folder in folders if folder.parent == parent):
            _add_lmdb(root, folder, roles, found)
        match_roles(root, roles, found)
    if not found.pairs and not found.left_out:
        raise LocalblurError(f"{root} holds no pairs: expected folders like input.lmdb and target.lmdb")
    return found


def _add_lmdb(
    root: Path, folder: Path, roles: dict[tuple[str | None, str, str], dict[Role, Path]], found: FoundPairs
) -> None:
    """Add the pictures of an LMDB by (split, scene, name); of two that hold the same the first counts."""
    shown, role, second = folder.relative_to(root), _lmdb_role(folder.stem), 0
    if role is None:
        found.left_out.append(f"{shown}: its name says neither blurred nor sharp")
        return
    for key in check_lmdb(folder):
        known = roles.setdefault((_lmdb_split(shown), *_key_parts(key)), {})
        if role in known:
            second += 1
        else:
            known[role] = folder / key
    if second:
        found.left_out.append(f"{shown}: {second} {role} pictures of pairs that have one from an LMDB before it")


def _lmdb_role(stem: str) -> Role | None:
    words = re.split(r"[^a-z]+", stem.lower())
    return next((BLURRED_SHARP[word] for word in words if word in BLURRED_SHARP), None)


def _lmdb_split(relative: Path) -> str | None:
    words = [word for part in relative.parts for word in re.split(r"[^a-z]+", part.lower())]
    return next(({"valid": "val"}.get(word, word) for word in words if word in ("train", "val", "valid", "test")), None)


def _key_parts(key: str) -> tuple[str, str]:
    if "/" in key.strip("/"):
        scene, _, name = key.rpartition("/")
        return scene, name
    fits = re.fullmatch(r"(.+?)[-_](\d+(?:_s\d+)?)", key)
    return (fits[1], fits[2]) if fits else ("lmdb", key)


def _with_variant(root: Path, found: FoundPairs, options: LayoutOptions, variants: Sequence[str]) -> FoundPairs:
    """`found`, unless everything lacks a blurred partner because no variant was chosen."""
    if options.variant is None and not found.pairs:
        there = [variant for variant in variants if next(root.rglob(f"*{variant}"), None) is not None] or variants
        raise LocalblurError(
            f"{root} holds blurred pictures of {len(there)} of {len(variants)} kinds, which papers do not mix: choose"
            f" --variant {' or '.join(there)}"
        )
    return found


def _in_split(found: FoundPairs, split: str) -> FoundPairs:
    return FoundPairs([replace(pair, split=split) for pair in found.pairs], found.left_out)


def _with_masks(found: FoundPairs, masks: Path) -> FoundPairs:
    if not masks.is_dir():
        raise LocalblurError(f"{masks} is not a folder; give --masks the folder that holds train and test")
    pairs = []
    for pair in found.pairs:
        stem = masks / (pair.split or "") / pair.scene / pair.name
        tried = (
            stem / f"{pair.name}.png",
            stem / f"{pair.name}.npy",
            stem.with_suffix(".png"),
            stem.with_suffix(".npy"),
        )
        mask = next((path for path in tried if path.is_file()), None)
        if mask is None:
            found.left_out.append(f"{pair.label}: imported without its mask: {tried[0]} is missing")
        pairs.append(replace(pair, mask=mask))
    return FoundPairs(pairs, found.left_out)


_REALBLUR = "J. Rim et al., Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms, ECCV 2020"

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "folder": Layout(title="plain pictures of your own", find=find_folder_pairs),
        "gopro": Layout(
            title="GoPro (GOPRO_Large, or a flat repack)",
            find=find_gopro_pairs,
            variants=GOPRO_VARIANTS,
            counts=MappingProxyType({"train": 2103, "test": 1111}),
            licence="CC BY 4.0, as its page states; verify before publishing",
            citation="S. Nah et al., Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring,"
            " CVPR 2017",
        ),
        "hide": Layout(
            title="HIDE, test pictures as {input,target}",
            find=find_hide_pairs,
            counts=MappingProxyType({"test": 2025}),
            citation="Z. Shen et al., Human-Aware Motion Deblurring, ICCV 2019",
        ),
        "realblur-j": Layout(
            title="RealBlur-J with its lists",
            find=find_realblur_pairs("J"),
            counts=MappingProxyType({"train": 3758, "test": 980}),
            licence="CC BY 4.0",
            citation=_REALBLUR,
        ),
        "realblur-r": Layout(
            title="RealBlur-R with its lists",
            find=find_realblur_pairs("R"),
            counts=MappingProxyType({"train": 3758, "test": 980}),
            licence="CC BY 4.0",
            citation=_REALBLUR,
        ),
        "reloblur": Layout(
            title="ReLoBlur with masks",
            find=find_reloblur_pairs,
            counts=MappingProxyType({"train": 2010, "test": 395}),
            licence="academic use only",
            citation="H. Li et al., Real-World Deep Local Motion Deblurring, AAAI 2023",
            any_mark=True,
        ),
        "rsblur": Layout(
            title="RSBlur, real pairs, with its lists",
            find=find_rsblur_pairs,
            counts=MappingProxyType({"train": 8878, "val": 1120, "test": 3360}),
            licence="CC BY 4.0",
            citation="J. Rim et al., Realistic Blur Synthesis for Learning Image Deblurring, ECCV 2022",
        ),
        "bsd": Layout(
            title="BSD, any of its exposures",
            find=find_bsd_pairs,
            citation="Z. Zhong et al., Real-world Video Deblurring: A Benchmark Dataset and an Efficient Recurrent"
            " Neural Network, IJCV 2023",
        ),
        "reds": Layout(
            title="REDS",
            find=find_reds_pairs,
            variants=REDS_VARIANTS,
            counts=MappingProxyType({"train": 24000, "val": 3000}),
            licence="CC BY 4.0, as its page states; verify before publishing",
            citation="S. Nah et al., NTIRE 2019 Challenge on Video Deblurring and Super-Resolution, CVPRW 2019",
        ),
        "imagefolder": Layout(title="what export-dataset --format imagefolder wrote", find=find_imagefolder_pairs),
        "lmdb": Layout(title="LMDBs of BasicSR or NAFNet", find=find_lmdb_pairs),
    }
)
"""Layouts by the name that `import-dataset` takes. A new layout is one function, one line here, one test."""
