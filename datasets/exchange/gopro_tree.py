"""The tree of GOPRO_Large: `<split>/<scene>/{blur,blur_gamma,sharp}/NNNNNN.png`, written pair by pair by any process.

As published with Nah et al. (CVPR 2017): `blur` averages the codes as they are (linear camera response), `blur_gamma`
averages light and codes it again. Masks, which GOPRO_Large has not, go to `<split>/<scene>/mask/`.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.datasets.exchange.exporters import gopro_places
from localblur.datasets.exchange.tree_terms import SYNTHESISED
from localblur.datasets.images import write_image
from localblur.datasets.light.camera_response import Frame
from localblur.datasets.pair import Pair
from localblur.datasets.storage.parts import difference_in_words, first_difference

SPLITS = ("train", "val", "test")
ROLES = ("blur", "blur_gamma", "sharp", "mask")
MARKER = SYNTHESISED
FORMAT = "localblur-gopro-tree"


def tree_paths(folder: Path, split: str, scene: str, name: str, *, masked: bool) -> dict[str, Path]:
    """Where the pictures of a pair go, by what they are."""
    places = gopro_places(split, scene, name)
    paths = {
        "blur": folder / places.blurred,
        "blur_gamma": folder / places.blurred.parent.with_name("blur_gamma") / places.blurred.name,
        "sharp": folder / places.sharp,
    }
    return paths | ({"mask": folder / places.mask} if masked else {})


def write_tree_pair(folder: Path, pair: Pair, codes: Frame, split: str) -> None:
    """Write the pictures of a pair, each atomically, the sharp one last: where it is, the pair is complete.

    Args:
        folder: the tree.
        pair: its blurred picture averages light.
        codes: the picture that averages codes.
        split: `train`, `val` or `test`.
    """
    paths = tree_paths(folder, split, pair.scene, pair.info.name, masked=pair.mask is not None)
    images = {"blur": codes, "blur_gamma": pair.blurred, "mask": pair.mask, "sharp": pair.sharp}
    for role, image in images.items():
        if image is not None:
            write_image(paths[role], image)


def begin_tree(folder: Path, run: dict[str, Any], *, overwrite: bool) -> bool:
    """Make the folder ready for a run, or for its continuation; whether it is the latter.

    Raises:
        LocalblurError: if it holds something else, or what another run made, and `overwrite` is not given.
    """
    if folder.exists() and not folder.is_dir():
        raise LocalblurError(f"{folder} is a file; give --output a folder, or a name ending in .h5 for a pairs file")
    marker = folder / MARKER
    wanted = {"format": FORMAT, "run": run}
    earlier = read_json(marker) if marker.is_file() else None
    if isinstance(earlier, dict) and earlier.get("format") == FORMAT:
        finished = bool(earlier.pop("finished", False))
        difference = first_difference(wanted, earlier)
        if difference is None and not finished:
            return True
        if not overwrite:
            what = (
                f"an unfinished run with another {difference_in_words(difference)}" if difference else "a finished run"
            )
            raise LocalblurError(f"{folder} holds {what}; choose another --output or pass --overwrite")
        _remove_pictures(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise LocalblurError(f"{folder} holds other files; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, wanted)
    return False


def finish_tree(folder: Path) -> None:
    """Say that the run is finished."""
    write_json(folder / MARKER, read_json(folder / MARKER) | {"finished": True})


def finished_pairs(folder: Path, wanted: Iterable[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """Those of the (split, scene, name) whose pictures are there, as (scene, name)."""
    return {
        (scene, name)
        for split, scene, name in wanted
        if tree_paths(folder, split, scene, name, masked=False)["sharp"].is_file()
    }


def remove_tree(folder: Path) -> None:
    """Remove a tree that came to nothing; what is not of this package stays, and the folders it lies in."""
    _remove_pictures(folder)
    (folder / MARKER).unlink(missing_ok=True)
    for split in SPLITS:
        for path in (*(folder / split).glob("*/*"), *(folder / split).glob("*"), folder / split):
            if path.is_dir():
                with suppress(OSError):  # not empty
                    path.rmdir()
    with suppress(OSError):
        folder.rmdir()


def _remove_pictures(folder: Path) -> None:
    """Pictures of another run would be taken for finished ones of this."""
    for split in SPLITS:
        for role in ROLES:
            for path in (folder / split).glob(f"*/{role}/*.png"):
                path.unlink()
