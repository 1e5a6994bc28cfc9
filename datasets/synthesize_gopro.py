"""Command `synthesize-gopro`: blurred and sharp pairs from video, by averaging successive frames in linear light."""

import json
from pathlib import Path

import click
from click.core import ParameterSource

from localblur.common.command import (
    EXIT_LOSSES,
    Command,
    output_option,
    overwrite_option,
    seed_option,
    settings_options,
)
from localblur.common.settings import load_settings
from localblur.datasets.blending import CAMERA_RESPONSES
from localblur.datasets.store import DEFAULT_SPLIT
from localblur.datasets.synthesis import SynthesisSettings, plan_synthesis, synthesize

SETTING_FLAGS = ("frames", "stride", "camera_response", "split", "mask", "skip_static", "max_pairs", "seed")


def _frame_range(_ctx: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`11` or `7..13` as the smallest and the largest number of frames."""
    if value is None:
        return None
    first, dots, last = value.partition("..")
    try:
        return int(first), int(last if dots else first)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number of frames like 11 nor a range like 7..13") from None


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="VIDEO|FRAMES...", type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5).")
@click.option(
    "--frames",
    metavar="N|A..B",
    callback=_frame_range,
    help="Frames averaged per pair: 11, or drawn from 7..13 (default).",
)
@click.option("--stride", type=click.IntRange(min=1), help="Frames from one pair to the next [default: no overlap].")
@click.option(
    "--camera-response", type=click.Choice(sorted(CAMERA_RESPONSES)), help="How the video codes light [default: srgb]."
)
@click.option("--split", help=f"Shares or file that assigns scenes to splits [default: {DEFAULT_SPLIT}].")
@click.option("--mask/--no-mask", default=None, help="Make blur masks from frame differences [default: mask].")
@click.option("--skip-static", is_flag=True, default=None, help="Leave out windows in which nothing moves.")
@click.option("--max-pairs", type=click.IntRange(min=1), help="At most so many pairs, spread over all videos.")
@seed_option()
@settings_options
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@click.pass_context
def main(
    ctx: click.Context,
    sources: tuple[Path, ...],
    output: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    overwrite: bool,
    dry_run: bool,
    frames: tuple[int, int] | None,
    stride: int | None,
    camera_response: str | None,
    split: str | None,
    mask: bool | None,
    skip_static: bool,
    max_pairs: int | None,
    seed: int,
) -> None:
    """Make blurred/sharp pairs from videos or folders of frames, as for GoPro data (Nah et al., CVPR 2017).

    N successive frames, averaged in linear light, are the blurred picture; the middle frame is the sharp one. No pair
    crosses a cut; every shot is a scene of its own.

    \b
    Example:
      synthesize-gopro clips/*.mp4 -o gopro.h5 --frames 7..13
    """
    settings = load_settings(SynthesisSettings, config, [*overrides, *_flag_overrides(ctx)])
    if dry_run:
        plan = plan_synthesis(sources, settings)
        for source, windows in plan.windows.items():
            click.echo(f"{source}: {len(windows)} pairs from {len({window.scene for window in windows})} shots")
        _report(plan.problems)
        return
    done = synthesize(sources, output, settings, overwrite=overwrite)
    static = f", {done.static} static windows left out" if settings.skip_static else ""
    click.echo(f"{output}: {done.pairs} pairs in {done.scenes} scenes{static}")
    if done.problems:
        _report(done.problems)
        ctx.exit(EXIT_LOSSES)


def _flag_overrides(ctx: click.Context) -> list[str]:
    """Flags given on the command line as `--set` texts: they win over the settings file, their defaults do not."""
    given = {
        name: ctx.params[name]
        for name in SETTING_FLAGS
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if "frames" in given:
        given["shortest"], given["longest"] = given.pop("frames")
    return [f"{name}={json.dumps(value)}" for name, value in given.items()]


def _report(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
