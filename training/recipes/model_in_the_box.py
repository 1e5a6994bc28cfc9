"""The command `python -m localblur.training.recipes.model_in_the_box`: make the model that comes with the package.

Every step is a command of the package and is printed before it runs. All of them continue what an earlier call left, so
that the whole may be stopped and repeated at any time.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from localblur.common.command import Command
from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json

LOCAL_PAIRS, RIG_SCENES, RIG_SHOTS = 2400, 600, 4
WEIGHTS = "data.weights=[0.35,0.35,0.3]"
"""Shares of the rig's scenes of PHOTOS, of those of the pictures that come with scikit-image, and of cut-outs."""
CALL_NAME = "call.json"
"""What the folder was begun with."""


@click.command(cls=Command)
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--work", "-o", type=click.Path(path_type=Path), required=True, help="Folder for data, run and scores.")
@click.option(
    "--terms", type=click.Path(path_type=Path, exists=True), help="Text on the terms of PHOTOS, for the card."
)
@click.option("--minutes", type=float, help="Train for at most so long in this call; the next one continues.")
@click.option("--quick", is_flag=True, help="A hundredth of everything, to see that it works.")
def main(photos: Path, work: Path, terms: Path | None, minutes: float | None, quick: bool) -> None:
    """Make data from PHOTOS and simulated scenes, train lbag-small, test it on the sixty scenes, write its card.

    PHOTOS is a folder with at least a few dozen pictures directly in it, free of restrictions. Takes 5 GB of disk, and
    most of its time to train: some hours on two processor cores. The card and the model folder are WORK/card.md and
    WORK/run/best.

    \b
    Example:
      python -m localblur.training.recipes.model_in_the_box photos -o work
      deblur photo.png --model work/run -o out
    """
    remember_call(photos, work, quick=quick)
    for command in commands(photos, work, terms, minutes, quick=quick):
        target = produced(command)
        if target is not None and target.exists():
            click.echo(f"exists: {target}")
            continue
        module, *arguments = command
        name = module.rpartition(".")[2].replace("_", "-")
        click.echo(f"$ {name} {shlex.join(arguments)}")
        call = f"from {module} import main; main(prog_name={name!r})"
        code = subprocess.run([sys.executable, "-c", call, *arguments], check=False).returncode
        if code != 0:
            raise LocalblurError(f"{name} ended with exit code {code}; repeat the call to continue")
    click.echo(f"{work / 'card.md'} describes the model in {work / 'run' / 'best'}")


def remember_call(photos: Path, work: Path, *, quick: bool) -> None:
    """Make the folder `work` for this call, or continue one that was begun alike.

    Raises:
        LocalblurError: if it was begun with other photographs or another `quick`: what is there would be taken for the
            result of this call.
    """
    call = {"photos": str(photos.resolve()), "quick": quick}
    path = work / CALL_NAME
    if path.exists():
        if read_json(path) != call:
            raise LocalblurError(
                f"{work} was begun with other PHOTOS or another --quick (see {path}); choose another -o"
            )
        return
    work.mkdir(parents=True, exist_ok=True)
    write_json(path, call)


def commands(photos: Path, work: Path, terms: Path | None, minutes: float | None, *, quick: bool) -> list[list[str]]:
    """Modules of commands, each with its arguments, in order."""
    share = 100 if quick else 1
    rig, bundled, local, test = (str(work / name) for name in ("rig.h5", "bundled.h5", "local.h5", "test.h5"))
    run, scores, card = (str(work / name) for name in ("run", "scores", "card.md"))
    local_options = ["--size", "384x384", "--blur-length", "4..44", "--realism", "--split", "train=0.93,val=0.07"]
    training = ["--recipe", "lbag-small", "--set", WEIGHTS, "-o", run, "--resume"]
    if quick:
        training += ["--set", "steps=100", "--set", "validation.every_steps=50"]
    if minutes is not None:
        training += ["--minutes", str(minutes)]
    scenes = ["--scenes", str(max(RIG_SCENES // share, 24)), "--shots", str(RIG_SHOTS)]
    package = "localblur.training"
    return [
        [f"{package}.simulate_scenes", "train", *scenes, "--photos", str(photos), "-o", rig],
        [f"{package}.simulate_scenes", "train", *scenes, "-o", bundled],
        ["localblur.datasets.synthesize_local", str(photos), "-o", local]
        + ["--count", str(max(LOCAL_PAIRS // share, 48)), *local_options],
        [f"{package}.train_lbag", rig, bundled, local, *training],
        [f"{package}.simulate_scenes", "test", *(["--scenes", "4"] if quick else []), "-o", test],
        # the scores of an earlier call are those of weights that were trained on since
        [f"{package}.evaluate_deblur", test, "--model", f"{run}/best", "-o", scores, "--overwrite"],
        [f"{package}.tune_skipping", f"{run}/best", "--write"],
        [f"{package}.model_card", f"{run}/best", scores, "--data", rig, "--data", bundled, "--data", local]
        + ["-o", card, "--overwrite"]
        + (["--terms", str(terms)] if terms else []),
    ]


def produced(command: Sequence[str]) -> Path | None:
    """The pairs file a command makes; None for those that find out themselves what is left to do."""
    makes_pairs = command[0].endswith(("simulate_scenes", "synthesize_local"))
    return Path(command[command.index("-o") + 1]) if makes_pairs else None


if __name__ == "__main__":
    main()
