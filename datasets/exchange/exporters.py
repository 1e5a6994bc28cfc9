"""Where pairs go when they are exported: one `Format` per tree that other people's code reads, in the table `FORMATS`.

Names of scenes and pairs are kept, so that an exported tree can be imported again and compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.schema import SPLITS

RELOBLUR_WORDS = ("sharp", "dataset")
"""ReLoBlur's reader finds blurred pictures and masks by replacing these words anywhere in the path of the sharp one."""


@dataclass(frozen=True, kw_only=True)
class PairPlaces:
    """Where the pictures of a pair go, below the export's folder; of an LMDB, `NAME.lmdb/KEY`."""

    blurred: PurePosixPath
    sharp: PurePosixPath
    mask: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class Format:
    """A tree that other people's code reads.

    Attributes:
        title: what it is.
        places: where a pair goes, from split, scene and name.
        layout: the layout of `import-dataset` that reads it.
        binary_masks: masks hold 0 and 255 only, because its readers take any value above 0 for blurred.
        needs_masks: its readers fail on pairs without a mask.
        forbidden: what its readers cannot bear in names, and what they do with it.
        ascii_only: its readers take names of ASCII characters only.
        splits: that its readers look for.
    """

    title: str
    places: Callable[[str, str, str], PairPlaces]
    layout: str
    binary_masks: bool = False
    needs_masks: bool = False
    forbidden: Mapping[str, str] = field(default_factory=dict)
    ascii_only: bool = False
    splits: tuple[str, ...] = SPLITS


def reloblur_places(split: str, scene: str, name: str) -> PairPlaces:
    """`dataset/<split>/<scene>/NN/NN_{blur,sharp}.png` and `masks/<split>/<scene>/NN/NN.png`."""
    pictures, masks = (PurePosixPath(top, split, scene, name) for top in ("dataset", "masks"))
    return PairPlaces(
        blurred=pictures / f"{name}_blur.png", sharp=pictures / f"{name}_sharp.png", mask=masks / f"{name}.png"
    )


def gopro_places(split: str, scene: str, name: str) -> PairPlaces:
    """`<split>/<scene>/{blur,sharp,mask}/<name>.png`."""
    blurred, sharp, mask = (PurePosixPath(split, scene, role, f"{name}.png") for role in ("blur", "sharp", "mask"))
    return PairPlaces(blurred=blurred, sharp=sharp, mask=mask)


def flat_places(split: str, scene: str, name: str) -> PairPlaces:
    """`<split>/{input,target,mask}/<scene>-<name>.png`."""
    blurred, sharp, mask = (PurePosixPath(split, role, f"{scene}-{name}.png") for role in ("input", "target", "mask"))
    return PairPlaces(blurred=blurred, sharp=sharp, mask=mask)


def lmdb_places(split: str, scene: str, name: str) -> PairPlaces:
    """Keys `<scene>/<name>` in `<split>/{input,target,mask}.lmdb`."""
    blurred, sharp, mask = (PurePosixPath(split, f"{role}.lmdb", scene, name) for role in ("input", "target", "mask"))
    return PairPlaces(blurred=blurred, sharp=sharp, mask=mask)


def imagefolder_places(split: str, scene: str, name: str) -> PairPlaces:
    """`<split>/<scene>/<name>_{blurred,sharp,mask}.png`, listed in `<split>/metadata.jsonl`."""
    blurred, sharp, mask = (PurePosixPath(split, scene, f"{name}_{role}.png") for role in ("blurred", "sharp", "mask"))
    return PairPlaces(blurred=blurred, sharp=sharp, mask=mask)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "reloblur": Format(
            title="the tree of ReLoBlur, for the published LBAG code",
            places=reloblur_places,
            layout="reloblur",
            binary_masks=True,
            needs_masks=True,
            forbidden=MappingProxyType(dict.fromkeys(RELOBLUR_WORDS, "replaces anywhere in a path")),
            splits=("train", "test"),
        ),
        "gopro": Format(title="the tree of GoPro", places=gopro_places, layout="gopro"),
        "input-target": Format(
            title="flat folders as MPRNet, Restormer and NAFNet read", places=flat_places, layout="gopro"
        ),
        "lmdb": Format(
            title="LMDBs with meta_info.txt as BasicSR and NAFNet read",
            places=lmdb_places,
            layout="lmdb",
            forbidden=MappingProxyType({".": "takes for the end of a key"}),
            ascii_only=True,
        ),
        "imagefolder": Format(
            title="Hugging Face ImageFolder with metadata.jsonl and Croissant",
            places=imagefolder_places,
            layout="imagefolder",
        ),
    }
)
"""Formats by the name that `export-dataset` takes. A new format is one function, one line here, one test."""


def check_names(kind: str, scene: str, name: str) -> None:
    """Raise a `LocalblurError` if readers of the format `kind` cannot bear the names of a pair."""
    chosen = FORMATS[kind]
    for what, text in (("scene", scene), ("pair", name)):
        for word, fate in chosen.forbidden.items():
            if word in text:
                raise LocalblurError(
                    f"{what} name {text!r} holds {word!r}, which the reader of {kind} {fate}; export in another"
                    " --format, or rename the pictures and import them again"
                )
        if chosen.ascii_only and not text.isascii():
            raise LocalblurError(
                f"{what} name {text!r} is not ASCII, which the reader of {kind} needs; use other names"
            )
