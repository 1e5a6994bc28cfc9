"""The command `train-lbag`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from localblur.common.command import (
    Command,
    device_option,
    output_option,
    overwrite_option,
    seed_option,
    settings_options,
)
from localblur.common.errors import LocalblurError
from localblur.common.settings import load_settings, read_yaml
from localblur.training.recipes import recipe_names

if TYPE_CHECKING:
    from localblur.training.running.config import TrainingSettings
    from localblur.training.running.data import TrainingData
    from localblur.training.running.loop import Summary
    from localblur.training.running.run_folder import RunFolder
    from localblur.training.runtime import Runtime


def _worker_count(_ctx: click.Context, _param: click.Parameter, value: str) -> int | None:
    """A number of processes; None for `auto`."""
    if value == "auto":
        return None
    if not (value.isascii() and value.isdecimal()):
        raise click.BadParameter(f"{value!r} is neither auto nor a number from 0 on")
    return int(value)


@click.command(cls=Command)
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--recipe", help=f"Settings that come with the package: {', '.join(recipe_names())}.  [default: the run's, or lbag]"
)
@output_option("Folder of the run: checkpoint, best and last model, metrics.jsonl, tensorboard.")
@click.option("--resume", is_flag=True, help="Continue the run in --output; a run not begun yet is begun.")
@overwrite_option
@settings_options
@click.option("--minutes", type=float, help="Stop cleanly, with a checkpoint, after so many minutes.")
@click.option(
    "--workers",
    callback=_worker_count,
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Loader processes; auto is as many as the first steps show to be needed. The result is the same.",
)
@click.option("--dry-run", is_flag=True, help="Build everything, make two steps, write nothing.")
@click.option("--download", is_flag=True, help="Fetch VGG19's weights (548 MB, once) where the recipe needs them.")
@device_option
@seed_option()
@click.pass_context
def main(
    ctx: click.Context,
    data: tuple[Path, ...],
    recipe: str | None,
    output: Path,
    resume: bool,
    overwrite: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    minutes: float | None,
    workers: int | None,
    dry_run: bool,
    download: bool,
    device: str,
    seed: int,
) -> None:
    """Train a network on the pairs files DATA, on their train split; the val split chooses the best model.

    \b
    Examples:
      train-lbag pairs.h5 gopro.h5 --recipe lbag -o runs/lbag
      train-lbag pairs.h5 --recipe lbag-small --set steps=400 -o runs/small
      train-lbag pairs.h5 -o runs/small --resume
      train-lbag pairs.h5 --recipe nafnet-w32 --set data.batch=8 -o runs/nafnet --dry-run

    The learning rate depends on the step alone, so that a resumed run equals an uninterrupted one bit for bit. To train
    for a given time, choose --set steps=N from the shown speed; --minutes only cuts a run short. With several GPUs:
    torchrun --nproc-per-node=N -m localblur.training.train_lbag ...
    """
    flags = []
    if ctx.get_parameter_source("seed") is not ParameterSource.DEFAULT:
        flags.append(f"seed={seed}")
    if minutes is not None:
        flags.append(f"max_minutes={minutes}")
    request = TrainingRequest(
        data=data,
        output=output,
        recipe=recipe,
        config=config,
        overrides=(*flags, *overrides),
        download=download,
        resume=resume,
        overwrite=overwrite,
        device=device,
        workers=workers,
    )
    if dry_run:
        report_trial(try_training(request))
        return
    summary = run_training(request)
    if summary.main:
        report(summary, output)
    if summary.reason == "interrupted":
        raise KeyboardInterrupt


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What a call asks for.

    Attributes:
        data: pairs files.
        output: the run's folder.
        recipe: name of a recipe; None is the resumed run's, else what `config` names, else none with a `config` and
            `lbag` without.
        values, config, overrides: settings over the recipe's, in rising order of precedence.
        download: fetch VGG19's weights if the settings need them and name no file.
        resume: continue from the checkpoint in `output`; one that has none yet begins with its own settings.
        overwrite: replace a run in `output`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: loader processes; None is as many as the first steps show to be needed.
    """

    data: tuple[Path, ...]
    output: Path
    recipe: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    download: bool = False
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    workers: int | None = None


def run_training(request: TrainingRequest) -> "Summary":
    """Resolve settings, open the data, and train; the work of the command, without its parsing and reporting."""
    from localblur.training.running.loop import train
    from localblur.training.running.run_folder import RunFolder
    from localblur.training.runtime import Runtime

    _check(request)
    runtime, output = Runtime(request.device), request.output
    with RunFolder(output, resume=request.resume, overwrite=request.overwrite, writing=runtime.main) as folder:
        settings, opened, state = _prepared(request, folder, runtime)

        def ready() -> None:
            folder.prepare(settings.model_dump(mode="json"), request.data, opened.fingerprint, fresh=state is None)
            runtime.wait()

        return train(settings, opened, output, runtime=runtime, workers=request.workers, state=state, ready=ready)


def try_training(request: TrainingRequest) -> "list[str]":
    """Do what `run_training` does up to its second step, and write nothing; returns what was seen, in lines."""
    from localblur.training.running.dry_run import described, dry_run
    from localblur.training.running.run_folder import RunFolder
    from localblur.training.runtime import Runtime

    _check(request)
    runtime = Runtime(request.device)
    folder = RunFolder(request.output, resume=request.resume, overwrite=request.overwrite, writing=runtime.main)
    with folder:
        settings, opened, state = _prepared(request, folder, runtime)
        say = say_now if runtime.main else (lambda _text: None)
        tried = dry_run(
            settings, opened, runtime=runtime, workers=request.workers, run=request.output, state=state, say=say
        )
    return described(tried) if runtime.main else []


def vgg_folder() -> Path:
    """Where torchvision keeps weights that it fetched."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch_vgg(settings: "TrainingSettings", runtime: "Runtime") -> None:
    """Fetch VGG19's weights if they are needed and are those of `vgg_folder`; once on each machine."""
    from localblur.training.objectives.vgg_features import download_vgg19

    chosen = settings.objective
    if not chosen.perceptual_weight or chosen.vgg_weights is None or chosen.vgg_weights.parent != vgg_folder():
        return
    if runtime.first_here:
        download_vgg19(vgg_folder())
    runtime.wait()


def say_now(text: str) -> None:
    """Say what is being done, apart from the results."""
    click.echo(f"dry run: {text} ...", err=True)


def report_trial(lines: "list[str]") -> None:
    """Say what a dry run showed."""
    for line in lines:
        click.echo(line)


def report(summary: "Summary", output: Path) -> None:
    """Say in a few lines how a run ended."""
    click.echo(f"{summary.reason} at step {summary.step} of {summary.steps}")
    if summary.skipped:
        click.echo(f"{summary.skipped} steps were skipped: their loss or gradient was not finite")
    if summary.figures:
        figures = summary.figures
        for name, title in (("psnr", "PSNR"), ("weighted_psnr", "weighted PSNR")):
            before, after = figures[f"{name}_blurred"], figures[f"{name}_restored"]
            if math.isnan(after):
                why = "every patch is sharp" if name == "psnr" else "no patch has a blur mask"
                click.echo(f"validation {title}: none, {why}")
                continue
            click.echo(f"validation {title}: blurred {before:.2f} dB, restored {after:.2f} dB ({after - before:+.2f})")
        click.echo(f"best model (step {summary.best_step}): {output / 'best'}")
    else:
        click.echo("no scene to validate on: no best model was chosen")
    if summary.reason == "finished":
        click.echo(f"last model: {output / 'last'}")
    else:
        click.echo("continue with --resume")


def _prepared(
    request: TrainingRequest, folder: "RunFolder", runtime: "Runtime"
) -> "tuple[TrainingSettings, TrainingData, dict[str, Any] | None]":
    """Settings, data, and the state to continue from."""
    from localblur.training.checkpoint import load_state
    from localblur.training.objectives.vgg_features import VGG19_NAME
    from localblur.training.running.data import open_data

    state = load_state(folder.checkpoint) if request.resume and folder.checkpoint.exists() else None
    base = _base_values(request, folder, state) if request.resume else _recipe_values(request)
    if request.download:
        objective = base.setdefault("objective", {})
        objective["vgg_weights"] = objective.get("vgg_weights") or vgg_folder() / VGG19_NAME
    settings = _resolve(base, request.values, request.config, request.overrides)
    if request.download:
        fetch_vgg(settings, runtime)
    # a GPU has time to spare for changing patches, which the processes that load them have not
    return settings, open_data(request.data, settings, deferred=runtime.device.type == "cuda"), state


def _check(request: TrainingRequest) -> None:
    if request.resume and request.overwrite:
        raise LocalblurError("--resume continues a run and --overwrite replaces it; give one of them")


def _recipe_values(request: TrainingRequest) -> dict[str, Any]:
    """What the settings of a new run are laid over; see `TrainingRequest.recipe`."""
    from localblur.training.running.config import read_recipe

    if request.recipe is not None or request.config is None:
        return read_recipe(request.recipe or "lbag")
    named = read_yaml(request.config).get("recipe")
    return read_recipe(named) if named in recipe_names() else {}


def _base_values(request: TrainingRequest, folder: "RunFolder", state: dict[str, Any] | None) -> dict[str, Any]:
    """What a resumed run began with: from its checkpoint; killed before the first one, from what it wrote at once."""
    saved = dict(state["settings"]) if state is not None else folder.stored_settings()
    if saved is None:
        return _recipe_values(request)
    recipe = request.recipe
    if recipe is not None and recipe != saved.get("recipe"):
        raise LocalblurError(
            f"the run in {folder.path} was begun with recipe {saved.get('recipe')}, not {recipe}; leave --recipe out,"
            " choose another --output, or start again with --overwrite"
        )
    saved["max_minutes"] = None
    return saved


def _resolve(
    base: dict[str, Any], values: dict[str, Any], config: Path | None, overrides: tuple[str, ...]
) -> "TrainingSettings":
    from localblur.training.running.config import TrainingSettings

    return load_settings(TrainingSettings, config, overrides, {**base, **values})


if __name__ == "__main__":
    main()
