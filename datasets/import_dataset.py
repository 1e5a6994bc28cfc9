"""Command `import-dataset`: pairs that other people made, as a pairs file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import numpy.typing as npt

from localblur.common.command import EXIT_LOSSES, Command, output_option, overwrite_option, seed_option
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.common.settings import Settings
from localblur.datasets.images import read_image, read_plane
from localblur.datasets.importers import LAYOUTS, PairFiles
from localblur.datasets.names import storable_name
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.store import DEFAULT_SPLIT, PairsWriter, StoreHeader, assign_splits, files_identity


class ImportSettings(Settings):
    """How a data set is imported; stored in the file.

    Attributes:
        layout: a name of `LAYOUTS`.
        encoding: how the files code light; None: sRGB for 8-bit files, while 16-bit files must state it.
        source, licence: where the pictures come from, and on what terms, in words.
        split: shares of the splits or a file, see `assign_splits`; seed: seed of the shares.
    """

    layout: str = "folder"
    encoding: Literal["srgb", "linear"] | None = None
    source: str = ""
    licence: str = "not stated"
    split: str = DEFAULT_SPLIT
    seed: int = 0


@dataclass
class Imported:
    """What came of it: pairs, scenes and masks in the file, and what was left out, in words."""

    pairs: int = 0
    scenes: int = 0
    masks: int = 0
    left_out: list[str] = field(default_factory=list)


def import_dataset(path: Path, output: Path, settings: ImportSettings, *, overwrite: bool = False) -> Imported:
    """Import a data set; what cannot be used is left out and told, an interrupted run continues.

    Raises:
        LocalblurError: if no pair can be imported, or `output` exists.
    """
    found = LAYOUTS[settings.layout](path)
    result = Imported(left_out=list(found.left_out))
    bit_depth, encoding = _depth_and_encoding(found.pairs, settings, result.left_out)
    header = StoreHeader(
        encoding=encoding,
        bit_depth=bit_depth,
        creator="import-dataset",
        source=settings.source or path.resolve().name,
        licence=settings.licence,
        settings=settings.model_dump(mode="json") | {"encoding": encoding},
    )
    scenes = _storable_scenes(found.pairs)
    splits = assign_splits(list(scenes.values()), settings.split, settings.seed)
    sizes: dict[str, tuple[int, ...]] = {}
    seen: set[tuple[str, str]] = set()
    writer = PairsWriter(output, header, overwrite=overwrite, identity={"inputs": _identity(path, found.pairs)})
    with writer, Progress(len(found.pairs), "importing") as bar:
        for files in found.pairs:
            bar.step(files.label)
            scene = scenes[files.scene]
            try:
                pair = _read_pair(files, scene, sizes, header, result.left_out)
                key = (pair.scene, pair.info.name)
                if key in seen:
                    raise LocalblurError(f"its storable name {'/'.join(key)} is taken by another pair; rename it")
                seen.add(key)
                if key not in writer.finished:
                    writer.add(pair, splits[scene])
                result.masks += pair.mask is not None
            except LocalblurError as error:
                result.left_out.append(f"{files.label}: {error}")
        result.pairs, result.scenes = len(writer.finished), len({scene for scene, _ in writer.finished})
        if not result.pairs:
            raise LocalblurError(f"no pair of {path} can be imported: {'; '.join(result.left_out[:5])}")
    return result


def _identity(path: Path, pairs: Sequence[PairFiles]) -> str:
    files = [file for pair in pairs for file in (pair.blurred, pair.sharp, pair.mask) if file is not None]
    return f"{path.resolve()}, {files_identity(path, files)}"


def _depth_and_encoding(
    pairs: Sequence[PairFiles], settings: ImportSettings, left_out: list[str]
) -> tuple[Literal[8, 16], Literal["srgb", "linear"]]:
    """Decided by the first picture that can be read; pictures of another depth will be left out."""
    for files in pairs:
        try:
            wide = read_image(files.blurred).dtype == np.uint16
        except LocalblurError:
            continue  # told when its turn comes
        if wide and settings.encoding is None:
            raise LocalblurError(
                f"{files.blurred} is 16 bit, which does not say how it codes light: give --encoding srgb or linear"
            )
        return (16 if wide else 8), settings.encoding or "srgb"
    unreadable = [f"{files.label}: cannot be read" for files in pairs]
    raise LocalblurError("no pair can be imported: " + "; ".join([*left_out, *unreadable][:5]))


def _storable_scenes(pairs: Sequence[PairFiles]) -> dict[str, str]:
    """A different storable name for every scene as found."""
    names: dict[str, str] = {}
    for scene in dict.fromkeys(files.scene for files in pairs):
        name, number = storable_name(scene), 2
        while name in names.values():
            name, number = storable_name(scene, f"-{number}"), number + 1
        names[scene] = name
    return names


def _read_pair(
    files: PairFiles, scene: str, sizes: dict[str, tuple[int, ...]], header: StoreHeader, left_out: list[str]
) -> Pair:
    """Read a pair; one of another size than its scene's first goes into a scene of its own, in the same split."""
    blurred, sharp = read_image(files.blurred), read_image(files.sharp)
    if blurred.shape != sharp.shape:
        raise LocalblurError(f"blurred is {_size(blurred)} but sharp is {_size(sharp)}; a pair has one size")
    for role, image in (("blurred", blurred), ("sharp", sharp)):
        if image.dtype != header.dtype:
            raise LocalblurError(
                f"{role} is {8 * image.dtype.itemsize} bit but the others are {header.bit_depth} bit; import them apart"
            )
    mask = None
    if files.mask is not None:
        try:
            mask = _read_mask(files.mask, blurred.shape[:2])
        except LocalblurError as error:
            left_out.append(f"{files.label}: imported without its mask: {error}")
    if sizes.setdefault(scene, blurred.shape) != blurred.shape:
        scene = storable_name(scene, f"_{_size(blurred)}")
    info = PairInfo(name=storable_name(files.name), verdict=Verdict.ACCEPT)
    return Pair(scene=scene, info=info, blurred=blurred, sharp=sharp, mask=mask)


def _read_mask(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A mask as stored: 8 bit, 128 and above is blurred; masks of zeros and ones are stretched."""
    plane = read_plane(path)
    if plane.shape != shape:
        raise LocalblurError(f"{path} is {_size(plane)}, the pictures are {shape[1]}x{shape[0]}")
    if plane.dtype == np.uint16:
        plane = plane >> 8 if plane.max() > 255 else plane
    if plane.max() == 1:
        plane = plane * 255
    return np.asarray(plane, np.uint8)


def _size(image: npt.NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


@click.command(cls=Command)
@click.argument("layout", type=click.Choice(sorted(LAYOUTS)))
@click.argument("path", type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5).")
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="How the files code light [default: srgb for 8 bit]."
)
@click.option("--source", default="", help="Where the pictures come from, in words [default: the folder's name].")
@click.option("--licence", default="not stated", show_default=True, help="The terms of the pictures, in words.")
@click.option("--split", default=DEFAULT_SPLIT, show_default=True, help="Shares or file that assigns scenes to splits.")
@seed_option()
@overwrite_option
@click.pass_context
def main(
    ctx: click.Context,
    layout: str,
    path: Path,
    output: Path,
    encoding: Literal["srgb", "linear"] | None,
    source: str,
    licence: str,
    split: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Import blurred/sharp pairs made elsewhere into a pairs file.

    The layout `folder` takes NAME_blur.png beside NAME_sharp.png (and NAME_mask.png), folders blur|blurred|input beside
    sharp|target|gt (and mask|masks) with equal names, and plain pair folders (scenes/SCENE/NN_blur.png). Pairs that
    cannot be used are listed; then the exit code is 3.

    \b
    Example:
      import-dataset folder my_pairs -o pairs.h5 --licence "CC BY 4.0"
    """
    settings = ImportSettings(layout=layout, encoding=encoding, source=source, licence=licence, split=split, seed=seed)
    done = import_dataset(path, output, settings, overwrite=overwrite)
    click.echo(f"{output}: {done.pairs} pairs in {done.scenes} scenes, {done.masks} with a mask")
    if done.left_out:
        click.echo(f"left out {len(done.left_out)}:", err=True)
        for reason in done.left_out:
            click.echo(f"  {' '.join(reason.split())}", err=True)
        ctx.exit(EXIT_LOSSES)
