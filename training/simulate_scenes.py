"""The command `python -m localblur.training.simulate_scenes`: the pairs `lbag-small` is trained and tested on."""

from collections import Counter
from functools import partial
from importlib import metadata
from pathlib import Path

import click

from localblur.common.command import Command, output_option, overwrite_option, workers_options
from localblur.common.parallel import open_executor, run_tasks, with_progress
from localblur.datasets.pair import Pair
from localblur.datasets.scenes.photographs import load_coded
from localblur.datasets.store import PairsWriter, StoreHeader, files_identity
from localblur.training.simulated_scenes import scene_name, scene_pairs, scene_settings

WIDTH_PX, HEIGHT_PX = 384, 288
TEST_SCENES = 60
TRAIN_SCENES, TRAIN_SHOTS = 240, 3
VALIDATION_EVERY = 12
"""Every twelfth training scene is for validation."""


@click.command(cls=Command)
@click.argument("textures", type=click.Choice(["train", "test"]))
@output_option("Pairs file to make.")
@click.option("--scenes", type=click.IntRange(min=1), help="Number of scenes.  [default: 240 for train, 60 for test]")
@click.option("--shots", type=click.IntRange(min=1), help="Pairs of each.  [default: 3 for train, 1 for test]")
@click.option(
    "--photos",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with photographs (directly in it) for the textures of `train`, instead of those bundled with"
    " scikit-image; three in four are used.",
)
@workers_options
@overwrite_option
def main(
    textures: str,
    output: Path,
    scenes: int | None,
    shots: int | None,
    photos: Path | None,
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Make pairs of simulated scenes: TEXTURES `train` (with a val split) or `test`, the fixed test of 60 scenes.

    \b
    Examples:
      python -m localblur.training.simulate_scenes test -o scenes-test.h5
      python -m localblur.training.simulate_scenes train -o scenes-train.h5
      train-lbag scenes-train.h5 --recipe lbag-small -o run
      evaluate-deblur scenes-test.h5 --model run --split test -o scores

    A scene is a function of its number alone; both sets share no texture. An interrupted run continues when it is
    repeated.
    """
    if photos is not None and textures == "test":
        raise click.UsageError("the test is fixed; --photos is for train")
    count = scenes or (TEST_SCENES if textures == "test" else TRAIN_SCENES)
    pairs = shots or (1 if textures == "test" else TRAIN_SHOTS)
    write_scenes(
        output, textures, count, pairs, photos=photos, workers=workers, scheduler=scheduler, overwrite=overwrite
    )
    click.echo(f"{count * pairs} pairs of {count} scenes: {output}")


def write_scenes(
    output: Path,
    textures: str,
    scenes: int,
    shots: int,
    *,
    photos: Path | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write the pairs of the scenes 0 ... `scenes` - 1 of `textures`; `test`, or `train` and `val`.

    An interrupted call is continued by the same one, with any number of workers.
    """
    settings = {"textures": textures, "scenes": scenes, "shots": shots, "size": [WIDTH_PX, HEIGHT_PX]}
    identity = {}
    if photos is not None:
        pictures = scene_settings(textures, 0, photos).source().photographs
        for picture in pictures:  # one that cannot be read is found now, and not after an hour
            load_coded(picture)
        settings["photos"] = len(pictures)
        identity = {"photos": f"{photos.resolve()}, {files_identity(photos.resolve(), pictures)}"}
    header = StoreHeader(
        encoding="srgb",
        bit_depth=8,
        creator=f"simulate_scenes {metadata.version('localblur')}",
        source=f"simulated scenes, {textures} textures" + (f" of {photos.resolve().name}" if photos else ""),
        settings=settings,
    )
    make = partial(_pairs_of, textures=textures, shots=shots, photos=photos)
    with (
        PairsWriter(output, header, overwrite=overwrite, identity=identity) as writer,
        open_executor(workers, scheduler) as executor,
    ):
        finished = Counter(scene for scene, _ in writer.finished)
        missing = [seed for seed in range(scenes) if finished[scene_name(textures, seed)] < shots]
        for seed, made in with_progress(run_tasks(make, missing, executor), len(missing), "simulate-scenes", "scene"):
            if isinstance(made, Exception):
                raise made
            for pair in made:
                if (pair.scene, pair.info.name) not in writer.finished:
                    writer.add(pair, split_of(textures, seed))


def split_of(textures: str, seed: int) -> str:
    """The split of scene `seed`."""
    if textures == "test":
        return "test"
    return "val" if seed % VALIDATION_EVERY == 0 else "train"


def _pairs_of(seed: int, *, textures: str, shots: int, photos: Path | None) -> list[Pair]:
    return scene_pairs(scene_settings(textures, seed, photos), scene_name(textures, seed), shots, HEIGHT_PX, WIDTH_PX)


if __name__ == "__main__":
    main()
