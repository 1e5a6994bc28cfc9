"""The command `evaluate-deblur`: what models make of blurred pictures, measured against the sharp ones."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click
import torch

from localblur.common.command import Command, output_option, overwrite_option, seed_option
from localblur.common.errors import LocalblurError
from localblur.datasets.store import SPLITS, PairsFile
from localblur.training.deblur import refuse_file_as_folder
from localblur.training.evaluation.classical import BASELINES
from localblur.training.evaluation.cross_dataset import trained_on
from localblur.training.evaluation.detection import LAYOUTS, Layout, open_detector
from localblur.training.evaluation.journal import NAME as JOURNAL_NAME
from localblur.training.evaluation.journal import Journal
from localblur.training.evaluation.methods import Baseline, Method, Model
from localblur.training.evaluation.report import report_text, write_report
from localblur.training.evaluation.run import (
    EvaluationSettings,
    choose_pairs,
    evaluate,
    journal_key,
    open_files,
    unique_labels,
)
from localblur.training.evaluation.scoring import BLURRED
from localblur.training.evaluation.tables import SHARP
from localblur.training.inference.engine import TorchEngine
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.inference.restore import Precision, Tile, prepare
from localblur.training.networks.table import NETWORKS
from localblur.training.options import inference_options
from localblur.training.published_weights import open_model
from localblur.training.runtime import fastest_precision, resolve_device


@click.command(cls=Command)
@click.argument("data", nargs=-1, required=True, metavar="DATA.h5...", type=click.Path(path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Model or run folder, a published file of weights, or model-in-the-box; several to compare. Without it only"
    " the blurred pictures are measured.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click.Choice(list(NETWORKS)),
    metavar="NAME",
    help="Network of a published file; once for all of them, or once for each in their order.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=click.Choice(list(BASELINES)),
    help="Classical method beside the models; none is the blurred picture, which is always there.",
)
@click.option(
    "--kernel",
    type=click.Choice(["oracle", "gaussian", "line"]),
    default="oracle",
    show_default=True,
    help="Blur that baselines assume; oracle fits it to the sharp picture, which only a test has.",
)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which scenes.")
@click.option(
    "--aligned",
    is_flag=True,
    help="Also PSNR after aligning each picture to the sharp one, as ReLoBlur and RealBlur report it; takes 13 s"
    " of a core per method and picture of 3 megapixels.",
)
@click.option("--selective", is_flag=True, help="Restore only what the coarse gate calls blurred, as deblur does.")
@click.option(
    "--detector",
    metavar="FILE.onnx|people",
    help="Compare detections on blurred and restored pictures with those on the sharp ones: an ONNX file with YOLO's"
    " output, or OpenCV's people detector.",
)
@click.option("--detector-size", type=click.IntRange(32, 4096), default=640, show_default=True, help="Its input, px.")
@click.option("--detector-layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="Its output.")
@click.option(
    "--pictures",
    type=click.IntRange(0, 50),
    default=3,
    show_default=True,
    help="How many of the best, and of the worst, pairs the page shows for each method.",
)
@output_option("Folder for scores.csv, summary.json, strips/, curves.png and index.html.")
@click.option("--resume", is_flag=True, help="Continue an interrupted evaluation in OUTPUT.")
@inference_options
@seed_option()
@overwrite_option
def main(
    data: tuple[Path, ...],
    models: tuple[Path, ...],
    networks: tuple[str, ...],
    baselines: tuple[str, ...],
    kernel: Literal["oracle", "gaussian", "line"],
    split: Literal["train", "val", "test"],
    aligned: bool,
    selective: bool,
    detector: str | None,
    detector_size: int,
    detector_layout: Layout,
    pictures: int,
    output: Path,
    resume: bool,
    tile: Tile,
    precision: Precision,
    device: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Measure models on pairs files: PSNR and SSIM, over the picture, inside the blur masks and outside.

    The blurred picture as it is stands in the first row; each method's gain over it comes with a 95 % confidence
    interval. Several models are tested against each other, and several files give a table of what was trained on
    which and tested on which. Rejected pairs are left out and counted; of the others only the valid box counts.

    \b
    Example:
      evaluate-deblur pairs.h5 --model run -o scores
      evaluate-deblur real.h5 gopro.h5 --model run-real --model run-gopro --aligned -o scores
      evaluate-deblur pairs.h5 --model LBAG.ckpt --network lbag --baseline wiener --detector people -o scores
    """
    refuse_used_folder(output, overwrite=overwrite, resume=resume)
    place = resolve_device(device)
    settings = EvaluationSettings(
        split=split,
        tile=tile,
        precision=fastest_precision(place) if precision == "auto" else precision,
        device=str(place),
        selective=selective,
        kernel=kernel,
        aligned=aligned,
        detector=detector,
        detector_layout=detector_layout,
        detector_px=detector_size,
        seed=seed,
    )
    finder = None if detector is None else open_detector(detector, layout=detector_layout, size_px=detector_size)
    with ExitStack() as stack:
        files = open_files(data, stack)
        choose_pairs(files, split)  # before the models are read: the cheaper refusal comes first
        methods: list[Method] = list(classical_methods(baselines, settings))
        methods += load_models(models, networks, files, settings, place)
        journal = Journal(output / JOURNAL_NAME, journal_key(files, methods, settings), resume=resume)
        evaluation = evaluate(files, methods, settings, finder, journal)
        summary = write_report(evaluation, output, pictures)
        journal.remove()
    click.echo(report_text(summary))
    click.echo(f"report: {output / 'index.html'}")


def classical_methods(names: Sequence[str], settings: EvaluationSettings) -> list[Baseline]:
    """The baselines of these names; `none` is measured anyway."""
    found = []
    for name in dict.fromkeys(names):
        classical = BASELINES[name]
        if classical is not None:
            found.append(Baseline(label=name, settings=classical.model_copy(update={"kernel": settings.kernel})))
    return found


def load_models(
    paths: Sequence[Path],
    networks: Sequence[str],
    files: Mapping[str, PairsFile],
    settings: EvaluationSettings,
    place: torch.device,
) -> list[Model]:
    """Read all models onto `place`.

    Raises:
        LocalblurError: if one is missing, damaged, given twice, of another network than said, or cannot be run
            selectively.
    """
    labels = unique_labels(paths, reserved=[BLURRED, SHARP, *BASELINES])
    loaded = []
    for label, path, network in zip(labels, paths, network_names(paths, networks), strict=True):
        module, card = open_model(path, network)
        module = prepare(module, place)
        if settings.selective and not TorchEngine(module).gated:
            raise LocalblurError(f"{path} has no gate that tells what is blurred; leave out --selective")
        loaded.append(
            Model(
                label=label,
                path=path,
                module=module,
                card=card,
                trained_on=trained_on(path, card.data_fingerprint, files),
                tile=settings.tile,
                precision=settings.precision,
                selective=settings.selective,
                skipping=stored_skipping(path),
            )
        )
    return loaded


def network_names(paths: Sequence[Path], networks: Sequence[str]) -> list[str | None]:
    """Which of `--network` belongs to which of `--model`; None for folders.

    Raises:
        LocalblurError: if there are neither one nor as many names as files.
    """
    count = sum(path.is_file() for path in paths)
    if len(networks) not in ({0, 1, count} if count else {0}):
        raise LocalblurError(
            f"--network is given {len(networks)} times for {count} published files; give it once, or once for each"
            " (model folders know their network)"
        )
    names = iter(list(networks) * count if len(networks) == 1 else networks)
    return [next(names, None) if path.is_file() else None for path in paths]


def refuse_used_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse an output folder that holds anything, unless it may be overwritten or is continued."""
    refuse_file_as_folder(folder)
    if overwrite or resume or not folder.is_dir() or not any(folder.iterdir()):
        return
    if (folder / JOURNAL_NAME).exists():
        raise LocalblurError(f"{folder} holds an unfinished evaluation; pass --resume to continue it, or --overwrite")
    raise LocalblurError(f"{folder} exists already and is not empty; choose another --output or pass --overwrite")
