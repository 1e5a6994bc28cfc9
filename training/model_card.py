"""The command `python -m localblur.training.model_card`: what is known of a model, as a text to publish with it."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from localblur.common.command import Command, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing, write_text
from localblur.datasets.store import PairsFile
from localblur.training.checkpoint import WEIGHTS_NAME, load_model
from localblur.training.evaluation.methods import weights_sha256
from localblur.training.evaluation.model_card import Shown, TrainingData, write_card
from localblur.training.evaluation.stored_report import read_report
from localblur.training.inference.model_skipping import read_skipping, weights_folder
from localblur.training.running.data import fingerprint


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("evaluations", nargs=-1, required=True, metavar="EVALUATION...", type=click.Path(path_type=Path))
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pairs file the model was trained on, all of them in the order given to train-lbag; compared with the model's"
    " fingerprint.",
)
@click.option(
    "--terms",
    type=click.Path(path_type=Path),
    help="Text file (Markdown): whose pictures the data was made of, and under which terms.",
)
@click.option(
    "--picture",
    "pictures",
    type=(click.Path(path_type=Path), str),
    multiple=True,
    metavar="FILE CAPTION",
    help="Show a picture, for example of deblur --compare.",
)
@output_option("The card to write, Markdown.")
@overwrite_option
def main(
    model: Path,
    evaluations: tuple[Path, ...],
    data: tuple[Path, ...],
    terms: Path | None,
    pictures: tuple[tuple[Path, str], ...],
    output: Path,
    overwrite: bool,
) -> None:
    """Write the card of MODEL (a model or run folder) from what evaluate-deblur measured of it.

    EVALUATION is an --output of evaluate-deblur. A report about other weights, or data that is not what the model was
    trained on, is refused.

    \b
    Example:
      evaluate-deblur scenes-test.h5 --model run -o scores
      python -m localblur.training.model_card run scores --data scenes.h5 --data local.h5 --terms terms.md -o card.md
    """
    refuse_existing(output, overwrite)
    module, card = load_model(model)
    folder = weights_folder(model) or model
    sha256 = weights_sha256(module)
    reports = [read_report(path, sha256) for path in evaluations]
    skipping = read_skipping(folder)
    text = write_card(
        card,
        (folder / WEIGHTS_NAME).stat().st_size,
        reports,
        training_data(data, card.data_fingerprint),
        _read(terms),
        [Shown(link=_link(path, output), caption=caption) for path, caption in pictures],
        {} if skipping is None else skipping.measured,
    )
    write_text(output, text)
    click.echo(f"card: {output}")


def training_data(paths: Sequence[Path], expected: str) -> list[TrainingData]:
    """What the pairs files say about themselves.

    Raises:
        LocalblurError: if together they are not the data with the fingerprint `expected`.
    """
    if not paths:
        return []
    with ExitStack() as stack:
        files = [stack.enter_context(PairsFile.open(path)) for path in paths]
        found = fingerprint(files)
        if found != expected:
            raise LocalblurError(
                f"the model was trained on data with the fingerprint {expected or 'unknown'}, these files have {found};"
                " give all its files, unchanged and in their order"
            )
        return [_described(file) for file in files]


def _described(file: PairsFile) -> TrainingData:
    pairs: Counter[str] = Counter()
    scenes: Counter[str] = Counter()
    for scene in file.scenes:
        usable = sum(not file.is_rejected(scene.name, index) for index in range(scene.count))
        pairs[scene.split] += usable
        scenes[scene.split] += usable > 0
    header = file.header
    return TrainingData(
        name=file.path.name,
        source=header.source,
        licence=header.licence,
        creator=header.creator,
        pairs=pairs,
        scenes=scenes,
    )


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read {path}: {error}") from error


def _link(picture: Path, card: Path) -> str:
    """How the card refers to a picture.

    Raises:
        LocalblurError: if there is no such picture.
    """
    if not picture.is_file():
        raise LocalblurError(f"no picture {picture}")
    return Path(os.path.relpath(picture.resolve(), card.resolve().parent)).as_posix()


if __name__ == "__main__":
    main()
