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
from localblur.common.files import refuse_existing, write_json
from localblur.common.settings import load_settings

if TYPE_CHECKING:
    from localblur.training.config import TrainingSettings
    from localblur.training.loop import Summary

RUN_NAME = "run.json"


@click.command(cls=Command)
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", help="lbag (as published; the default) or lbag-small (two processor cores).")
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
        resume: continue from the checkpoint in `output`, if there is one.
        overwrite: replace a run in `output`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: loader processes; None is 0 on a processor and 4 with a GPU.
    """
    from localblur.training.checkpoint import load_state
    from localblur.training.data import open_data
    from localblur.training.loop import STATE_NAME, train
    from localblur.training.runtime import Runtime

    if resume and overwrite:
        raise LocalblurError("--resume continues a run and --overwrite replaces it; give one of them")
    runtime = Runtime(device)
    if runtime.main and not resume:
        refuse_existing(output / RUN_NAME, overwrite)
    checkpoint = output / STATE_NAME
    state = load_state(checkpoint) if resume and checkpoint.exists() else None
    base = _base_values(recipe, state, checkpoint)
    settings = _resolve(base, values or {}, config, overrides)
    opened = open_data(data, settings)
    if runtime.main:
        _prepare_folder(output, settings, opened.fingerprint, data, fresh=state is None)
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


def _base_values(recipe: str | None, state: dict[str, Any] | None, checkpoint: Path) -> dict[str, Any]:
    from localblur.training.config import read_recipe

    if state is None:
        return read_recipe(recipe or "lbag")
    saved: dict[str, Any] = dict(state["settings"])
    if recipe is not None and recipe != saved["recipe"]:
        raise LocalblurError(
            f"{checkpoint} was trained with recipe {saved['recipe']}, not {recipe}; leave --recipe out,"
            " choose another --output, or start again with --overwrite"
        )
    saved["max_minutes"] = None
    return saved


def _resolve(
    base: dict[str, Any], values: dict[str, Any], config: Path | None, overrides: tuple[str, ...]
) -> "TrainingSettings":
    from localblur.training.config import TrainingSettings

    return load_settings(TrainingSettings, config, overrides, {**base, **values})


def _prepare_folder(
    output: Path, settings: "TrainingSettings", fingerprint: str, data: tuple[Path, ...], *, fresh: bool
) -> None:
    """Make the run's folder; of an earlier run that is replaced, what would be taken for this one's goes first."""
    from localblur.training.loop import STATE_NAME

    output.mkdir(parents=True, exist_ok=True)
    for leftover in output.rglob(".*.part*"):  # of a process that was killed while it wrote
        leftover.unlink(missing_ok=True)
    if fresh:
        _remove_run(output, STATE_NAME)
        write_json(
            output / RUN_NAME,
            {
                "format": "localblur-run",
                "schema_version": 1,
                "settings": settings.model_dump(mode="json"),
                "data": [str(path) for path in data],
                "data_fingerprint": fingerprint,
            },
        )


def _remove_run(output: Path, state_name: str) -> None:
    import shutil

    (output / state_name).unlink(missing_ok=True)
    for name in ("best", "last", "tensorboard"):
        if (output / name).is_dir():
            shutil.rmtree(output / name)


if __name__ == "__main__":
    main()
