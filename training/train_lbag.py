"""The command `train-lbag`."""

import math
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
from localblur.common.settings import load_settings
from localblur.training.recipes import recipe_names

if TYPE_CHECKING:
    from localblur.training.config import TrainingSettings
    from localblur.training.loop import Summary
    from localblur.training.run_folder import RunFolder


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
@click.option("--workers", type=click.IntRange(min=0), help="Loader processes.  [default: 0, or 4 with a GPU]")
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
    device: str,
    seed: int,
) -> None:
    """Train a network on the pairs files DATA, on their train split; the val split chooses the best model.

    \b
    Examples:
      train-lbag pairs.h5 gopro.h5 --recipe lbag -o runs/lbag
      train-lbag pairs.h5 --recipe lbag-small --set steps=400 -o runs/small
      train-lbag pairs.h5 -o runs/small --resume

    The learning rate depends on the step alone, so that a resumed run equals an uninterrupted one bit for bit. To train
    for a given time, choose --set steps=N from the shown speed; --minutes only cuts a run short. With several GPUs:
    torchrun --nproc-per-node=N -m localblur.training.train_lbag ...
    """
    values: dict[str, Any] = {}
    if ctx.get_parameter_source("seed") is not ParameterSource.DEFAULT:
        values["seed"] = seed
    if minutes is not None:
        values["max_minutes"] = minutes
    summary = run_training(
        data,
        output,
        recipe=recipe,
        values=values,
        config=config,
        overrides=overrides,
        resume=resume,
        overwrite=overwrite,
        device=device,
        workers=workers,
    )
    if summary.main:
        report(summary, output)
    if summary.reason == "interrupted":
        raise KeyboardInterrupt


def run_training(
    data: tuple[Path, ...],
    output: Path,
    *,
    recipe: str | None = None,
    values: dict[str, Any] | None = None,
    config: Path | None = None,
    overrides: tuple[str, ...] = (),
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    workers: int | None = None,
) -> "Summary":
    """Resolve settings, open the data, and train; the work of the command, without its parsing and reporting.

    Args:
        data: pairs files.
        output: the run's folder.
        recipe: name of a recipe; None is the resumed run's, else `lbag`.
        values, config, overrides: settings over the recipe's, in rising order of precedence.
        resume: continue from the checkpoint in `output`; one that has none yet begins with its own settings.
        overwrite: replace a run in `output`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: loader processes; None is 0 on a processor and 4 with a GPU.
    """
    from localblur.training.checkpoint import load_state
    from localblur.training.data import open_data
    from localblur.training.loop import train
    from localblur.training.run_folder import RunFolder
    from localblur.training.runtime import Runtime

    if resume and overwrite:
        raise LocalblurError("--resume continues a run and --overwrite replaces it; give one of them")
    runtime = Runtime(device)
    with RunFolder(output, resume=resume, overwrite=overwrite, writing=runtime.main) as folder:
        state = load_state(folder.checkpoint) if resume and folder.checkpoint.exists() else None
        base = _base_values(recipe, folder, state) if resume else _recipe_values(recipe)
        settings = _resolve(base, values or {}, config, overrides)
        opened = open_data(data, settings)
        folder.prepare(settings.model_dump(mode="json"), data, opened.fingerprint, fresh=state is None)
        runtime.wait()
        if workers is None:
            workers = 4 if runtime.device.type == "cuda" else 0
        return train(settings, opened, output, runtime=runtime, workers=workers, state=state)


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
                click.echo(f"validation {title}: none, no patch has a blur mask")
                continue
            click.echo(f"validation {title}: blurred {before:.2f} dB, restored {after:.2f} dB ({after - before:+.2f})")
        click.echo(f"best model (step {summary.best_step}): {output / 'best'}")
    else:
        click.echo("no val split in the data: no best model was chosen")
    if summary.reason == "finished":
        click.echo(f"last model: {output / 'last'}")
    else:
        click.echo("continue with --resume")


def _recipe_values(recipe: str | None) -> dict[str, Any]:
    from localblur.training.config import read_recipe

    return read_recipe(recipe or "lbag")


def _base_values(recipe: str | None, folder: "RunFolder", state: dict[str, Any] | None) -> dict[str, Any]:
    """What a resumed run began with: from its checkpoint; killed before the first one, from what it wrote at once."""
    saved = dict(state["settings"]) if state is not None else folder.stored_settings()
    if saved is None:
        return _recipe_values(recipe)
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
    from localblur.training.config import TrainingSettings

    return load_settings(TrainingSettings, config, overrides, {**base, **values})


if __name__ == "__main__":
    main()
