"""Command `synthesize-gopro`: blurred and sharp pairs from video, by averaging successive frames in linear light."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from localblur.common.command import (
    EXIT_LOSSES,
    Command,
    output_option,
    overwrite_option,
    parse_range,
    seed_option,
    settings_options,
    workers_options,
)
from localblur.common.parallel import open_executor
from localblur.common.settings import load_settings
from localblur.datasets.films.scene_cuts import faults_of
from localblur.datasets.films.synthesis import Synthesis, preview_synthesis, synthesize
from localblur.datasets.films.synthesis_plan import Plan
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.light.noise import parse_noise
from localblur.datasets.light.realism import noise_override
from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.storage.splits import DEFAULT_SPLIT

PLAIN_FLAGS = (
    "exposure_ms",
    "duty_cycle",
    "stride",
    "frame_rate",
    "repeated",
    "camera_response",
    "linear_light",
    "split",
    "mask",
    "skip_static",
    "max_pairs",
    "seed",
)
"""Flags that are settings of the same name."""


def _frame_range(_ctx: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`11` or `7..13` as the smallest and the largest number of frames."""
    if value is None:
        return None
    try:
        return parse_range(value, int)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number of frames like 11 nor a range like 7..13") from None


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="VIDEO|FRAMES...", type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5), or a folder: the tree of GOPRO_Large.")
@click.option(
    "--frames",
    metavar="N|A..B",
    callback=_frame_range,
    help="Frames averaged per pair: 11, or an odd number drawn from 7..13 (default).",
)
@click.option("--exposure", "exposure_ms", type=float, metavar="MS", help="Frames for so long an exposure instead.")
@click.option(
    "--duty-cycle", type=float, metavar="SHARE", help="Expose this share of --stride instead, for example 0.5."
)
@click.option("--stride", type=click.IntRange(min=1), help="Frames from one pair to the next [default: no overlap].")
@click.option("--frame-rate", type=float, metavar="FPS", help="At which it was filmed [default: as the video says].")
@click.option(
    "--repeated", type=click.Choice(["break", "drop"]), help="At repeated frames, end windows or drop them [break]."
)
@click.option(
    "--camera-response",
    metavar="NAME|FILE",
    help=f"How the video codes light: {', '.join(sorted(CAMERA_RESPONSES))}, or a CSV of code,light [default: srgb].",
)
@click.option("--linear-light/--coded", default=None, help="Average light, or the codes [default: light].")
@click.option(
    "--interpolate", type=click.IntRange(0, 64), metavar="K", help="Up to K in-betweens per frame where motion is fast."
)
@click.option("--realism/--no-realism", default=None, help="Add what a camera adds [default: no-realism].")
@click.option(
    "--noise",
    metavar="FULL_WELL,READ|FILE",
    help="Noise of the camera in electrons, or a file with it; alone, or in --realism.",
)
@click.option("--split", help=f"Shares or file that assigns scenes to splits [default: {DEFAULT_SPLIT}].")
@click.option("--mask/--no-mask", default=None, help="Make blur masks from frame differences [default: mask].")
@click.option("--skip-static", is_flag=True, default=None, help="Leave out windows in which nothing moves.")
@click.option("--max-pairs", type=click.IntRange(min=1), help="At most so many windows, spread over all videos.")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="gzip", show_default=True)
@click.option("--preview", is_flag=True, help="Write a contact sheet per video into OUTPUT.preview.")
@seed_option()
@workers_options
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
    preview: bool,
    compression: Compression,
    workers: int,
    scheduler: str | None,
    frames: tuple[int, int] | None,
    exposure_ms: float | None,
    duty_cycle: float | None,
    stride: int | None,
    frame_rate: float | None,
    repeated: str | None,
    camera_response: str | None,
    linear_light: bool | None,
    interpolate: int | None,
    realism: bool | None,
    noise: str | None,
    split: str | None,
    mask: bool | None,
    skip_static: bool | None,
    max_pairs: int | None,
    seed: int,
) -> None:
    """Make blurred/sharp pairs from videos or folders of frames, as for GoPro data (Nah et al., CVPR 2017).

    N successive frames, averaged in linear light, are the blurred picture; the middle frame is the sharp one. No pair
    crosses a cut, a repeated or a missing frame; every shot is a scene of its own. An interrupted run continues when it
    is repeated.

    \b
    Examples:
      synthesize-gopro clips/*.mp4 -o gopro.h5 --frames 7..13 --interpolate 16 --preview
      synthesize-gopro slow.mp4 -o GOPRO --frame-rate 240 --exposure 40 --camera-response gamma2.2
    """
    settings = _resolve(config, [*overrides, *_flag_overrides(ctx)], noise)
    with open_executor(min(workers, len(sources)), scheduler) as executor:
        if dry_run:
            _show_plan(preview_synthesis(sources, settings, executor))
            return
        done = synthesize(
            sources,
            output,
            settings,
            compression=compression,
            overwrite=overwrite,
            preview=preview,
            executor=executor,
        )
    _report(output, done)
    if done.problems:
        ctx.exit(EXIT_LOSSES)


def _flag_overrides(ctx: click.Context) -> list[str]:
    """Flags given on the command line as `--set` texts: they win over the settings file, their defaults do not."""
    given = {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    values: dict[str, Any] = {name: given[name] for name in PLAIN_FLAGS if name in given}
    if "frames" in given:
        values["shortest"], values["longest"] = given["frames"]
    if "interpolate" in given:
        values["interpolation.frames"] = given["interpolate"]
    if "realism" in given:
        values["realism"] = {} if given["realism"] else None
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def _resolve(config: Path | None, overrides: list[str], noise: str | None) -> SynthesisSettings:
    """The settings; a camera's noise alone switches all other stages of the camera off."""
    settings = load_settings(SynthesisSettings, config, overrides)
    if noise is None:
        return settings
    changed = noise_override(settings.realism, parse_noise(noise))
    return load_settings(SynthesisSettings, config, [*overrides, f"realism={json.dumps(changed)}"])


def _show_plan(plan: Plan) -> None:
    for video in plan.videos:
        shots = len({window.scene for window in video.windows})
        click.echo(f"{video.source}: {len(video.windows)} pairs from {shots} shots{faults_of(video.found)}")
    _left_out(plan.problems)


def _report(output: Path, done: Synthesis) -> None:
    speed = f"; {done.frames} frames in {done.seconds:.1f} s" if done.frames else ""
    click.echo(f"{output}: {done.pairs} pairs in {done.scenes} scenes{speed}")
    for reason, count in Counter(why.partition(":")[0] for _, _, why in done.dropped).items():
        click.echo(f"{count} {reason} windows left out")
    for note in done.notes:
        click.echo(f"note: {note}")
    for sheet in done.sheets:
        click.echo(f"preview: {sheet}")
    _left_out(done.problems)


def _left_out(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
