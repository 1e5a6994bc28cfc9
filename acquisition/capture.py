"""Command `capture`: record synchronised pairs with two cameras, real, emulated or simulated."""

import dataclasses
import functools
import sys
import tempfile
from pathlib import Path
from typing import Literal

import click

from localblur.acquisition.cameras.faults import read_faults
from localblur.acquisition.measuring.exposure import Alignment
from localblur.acquisition.pairing.sync import SyncMode
from localblur.acquisition.rig.simulator import ShotKind
from localblur.acquisition.screen.preview import Preview
from localblur.acquisition.session.advise import advise_recording
from localblur.acquisition.session.capture_group import GroupOutcome, Surroundings
from localblur.acquisition.session.plan import CapturePlan, make_plan
from localblur.acquisition.session.request import CaptureRequest
from localblur.acquisition.session.session import run_plan
from localblur.acquisition.session.sources import SourceKind
from localblur.common.command import (
    EXIT_ERROR,
    EXIT_LOSSES,
    Command,
    output_option,
    seed_option,
    workers_options,
)
from localblur.datasets.recording import CameraRecord, Recording, Role, verify

GUIDES: dict[str, str] = {
    "static": "a scene rich in texture, out to all corners, in which nothing moves; nobody touches the table",
    "dark": "lens caps on both cameras, room light off",
    "flat": "an even white field over the whole picture, no brighter than 80 % of full scale",
    "chart": "a 24-patch colour chart, whole, sharp and evenly lit",
    "bracket": "an even white field that nearly saturates both cameras at the exposures of the scene",
}
"""What shall stand before the cameras for each kind of calibration."""


def _parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    width, _, height = value.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise click.BadParameter(f"{value!r} is no size; write for example 640x480", ctx, param)
    return int(width), int(height)


def _parse_rerecord(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[int, ...] | Literal["all"]:
    if "all" in value:
        return "all"
    numbers = [number for text in value for number in text.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise click.BadParameter(f"{','.join(value)!r}: write a pair's number, several as 3,5, or all", ctx, param)
    return tuple(sorted({int(number) for number in numbers}))


@click.command(cls=Command)
@click.option("--pair", is_flag=True, help="Record pairs of a scene; beside --calibrate only if it is named.")
@click.option(
    "--simulate",
    is_flag=False,
    flag_value="",
    metavar="[SCENE]",
    help="Simulated rig and cameras; SCENE is any name (each looks different) or a YAML file, default --scene.",
)
@click.option(
    "--emulate",
    is_flag=False,
    flag_value="",
    metavar="[SCENE]",
    help="The same rig through Basler's camera emulator; every frame is checked bit for bit.",
)
@click.option("--scene", metavar="NAME", help="Name of the scene in the recording.  [default: SCENE or scene-01]")
@click.option(
    "--calibrate",
    multiple=True,
    type=click.Choice(["static", "dark", "flat", "chart", "bracket"]),
    help="Record calibration pairs: nothing moves / lens caps on / even white field / colour chart / even white field"
    " at seven exposures. Each is checked at once. Repeatable.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Pairs the group shall hold when done.  [default: scene 10, static 8, dark 4, flat 4, chart 2, bracket 14]",
)
@click.option(
    "--average",
    type=click.IntRange(min=1, max=256),
    metavar="N",
    help="Exposures averaged per calibration pair.  [default: static 4, dark 8, flat 8, chart 4; simulated 1]",
)
@click.option("--exposure-long", type=float, metavar="MS", help="Camera B's exposure in ms.  [default: 20]")
@click.option("--exposure-short", type=float, metavar="MS", help="Camera S's exposure in ms.  [default: 2]")
@click.option("--interval", type=click.FloatRange(min=0), default=0, metavar="MS", help="Least ms between triggers.")
@click.option(
    "--sync",
    type=click.Choice(["software", "line", "action"]),
    help="Who triggers: the host both cameras / B's output line S / one GigE action command both.  [default: software]",
)
@click.option(
    "--align",
    type=click.Choice(["start", "centre", "end"]),
    help="Which moment both exposures share; S is triggered that much later.  [default: centre]",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HZ",
    help="With --sync line: camera B runs by itself at this rate; losses are counted. Without, the host triggers B.",
)
@click.option("--blur-line", metavar="LINE", help="Output of B that is high while it exposes.  [default: Line2]")
@click.option("--sharp-line", metavar="LINE", help="Input of S it is wired to.  [default: Line1]")
@click.option(
    "--sharp-edge",
    type=click.Choice(["rising", "falling"]),
    help="Edge at that input where B's exposure begins; falling behind a pull-up resistor.  [default: rising]",
)
@click.option(
    "--start-delay",
    type=float,
    metavar="MS",
    help="By how much S starts late by itself (line delay, exposure start delays); taken off its trigger delay.",
)
@click.option(
    "--camera",
    multiple=True,
    metavar="NAME=VALUE",
    help="One setting of both cameras, or of one as B.NAME=VALUE: gain_db, black_level, link.packet_bytes,"
    " link.packet_delay_ticks, link.limit_mb_s. Repeatable.",
)
@click.option("--durable", is_flag=True, help="Each pair is on the disk before the next trigger; slower.")
@click.option("--blur", metavar="SERIAL", help="Serial number of camera B (long exposure).")
@click.option("--sharp", metavar="SERIAL", help="Serial number of camera S (short exposure).")
@click.option("--mirror", type=click.Choice(["B", "S"]), help="Flip this camera: it sees the scene reflected.")
@click.option(
    "--size", metavar="WxH", callback=_parse_size, help="Image size in px.  [default: the largest; simulated 640x480]"
)
@click.option("--bit-depth", type=click.Choice(["8", "12"]), help="Bits per pixel.  [default: 12]")
@click.option("--rig", metavar="SEED|YAML", help="Which simulated rig; stored, and kept by later calls.  [default: 0]")
@click.option("--preset", type=click.Choice(["nd", "gain"]), help="Simulated rig: ND filter on B, or gain on S.")
@click.option("--textures", metavar="train|test|DIR", default="train", help="Simulated scenes: which textures.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Simulated scene: one setting, objects=5."
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="YAML",
    help="Simulated cameras: what goes wrong, to rehearse it: B: [{kind: ignore, at: 12}].",
)
@seed_option()
@workers_options
@output_option("Recording folder; new, or one to add to.", required=False)
@click.option("--resume", is_flag=True, help="Continue a scene or calibration that was begun.")
@click.option(
    "--rerecord",
    multiple=True,
    metavar="N",
    callback=_parse_rerecord,
    help="Replace pair N of the scene or calibration (3,5 or all); the old one is kept and journalled as lost.",
)
@click.option("--reason", default="rerecorded", metavar="TEXT", help="Why, for the journal.")
@click.option(
    "--preview",
    is_flag=False,
    flag_value="window",
    metavar="[FILE.jpg]",
    help="Show the newest pair in a window, or keep a picture of it.",
)
@click.option("--yes", is_flag=True, help="Do not wait for Enter before each calibration.")
@click.option("--advise", is_flag=True, help="Measure light and print filter and exposures; of -o, or of the cameras.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    metavar="PX/MS",
    help="With --advise: speed of the fastest object in a frame.",
)
@click.option(
    "--list", "list_only", is_flag=True, help="Show the connected cameras: serial, model, interface, address."
)
@click.option(
    "--verify", "verify_folder", type=click.Path(path_type=Path), metavar="RECORDING", help="Check every file of it."
)
def main(
    pair: bool,
    simulate: str | None,
    emulate: str | None,
    scene: str | None,
    calibrate: tuple[ShotKind, ...],
    count: int | None,
    exposure_long: float | None,
    exposure_short: float | None,
    interval: float,
    blur: str | None,
    sharp: str | None,
    mirror: Role | None,
    size: tuple[int, int] | None,
    bit_depth: str | None,
    rig: str | None,
    preset: str | None,
    textures: str,
    overrides: tuple[str, ...],
    seed: int,
    workers: int,
    scheduler: str | None,
    output: Path | None,
    resume: bool,
    list_only: bool,
    average: int | None,
    sync: SyncMode | None,
    align: Alignment | None,
    rate: float | None,
    blur_line: str | None,
    sharp_line: str | None,
    sharp_edge: Literal["rising", "falling"] | None,
    start_delay: float | None,
    camera: tuple[str, ...],
    durable: bool,
    faults_file: Path | None,
    rerecord: tuple[int, ...] | Literal["all"],
    reason: str,
    preview: str | None,
    yes: bool,
    advise: bool,
    speed: float | None,
    verify_folder: Path | None,
) -> None:
    """Record synchronised pairs: camera B with a long exposure (blurred), camera S with a short one (sharp).

    A pair counts when both frames and its journal line are on the disk. Whatever goes wrong is recorded as lost, with
    its reason, and repeated. Scenes and calibrations of one rig add up in one recording. Times are in ms.

    Exit codes: 0 done, 1 error, 2 usage, 3 complete, but attempts were lost or a calibration is no good, 130
    interrupted. docs/rig.md says how to set up, wire and check a rig.

    \b
    Examples:
      capture --pair --emulate street --count 20 -o recording
      capture --emulate --calibrate static --calibrate chart -o recording
      capture --list
      capture --advise --blur 40001234 --sharp 40005678 --speed 1.5
      capture --pair --blur 40001234 --sharp 40005678 --scene desk --count 50 --sync line \\
              --exposure-long 20 --exposure-short 2 -o recording
      capture --pair --scene desk --rerecord 7 --reason "a hand in the picture" -o recording
      capture --verify recording
    """
    if list_only:
        _list_cameras(emulated=emulate is not None)
        return
    if verify_folder is not None:
        _verify(verify_folder)
        return
    if simulate is not None and emulate is not None:
        raise click.UsageError("--simulate and --emulate exclude each other")
    if not (pair or calibrate or advise):
        raise click.UsageError("say what to do: --pair, --calibrate KIND, --advise, --list or --verify RECORDING")
    if output is None and (pair or calibrate or not advise):
        raise click.UsageError("Missing option '--output' / '-o': where shall the recording go?")
    if rerecord and len(calibrate) + (1 if pair else 0) != 1:
        raise click.UsageError("--rerecord replaces pairs of one scene or one calibration; name exactly one")
    if advise and output is not None and not (pair or calibrate):
        _say_all(advise_recording(Recording.open(output), speed_px_per_ms=speed))
        return
    source: SourceKind = "simulate" if simulate is not None else "emulate" if emulate is not None else "cameras"
    request = CaptureRequest(
        output=output or Path(),
        source=source,
        scene=scene,
        look=simulate or emulate or "",
        calibrate=calibrate,
        count=count,
        exposures_ms={"B": exposure_long, "S": exposure_short},
        rig=rig,
        preset=preset,
        textures=textures,
        seed=seed,
        overrides=overrides,
        size=size,
        bit_depth=int(bit_depth) if bit_depth else None,
        serials={"B": blur, "S": sharp},
        mirrored=mirror,
        interval_ms=interval,
        resume=resume,
        sync=sync,
        align=align,
        rate_hz=rate,
        blur_line=blur_line,
        sharp_line=sharp_line,
        sharp_edge=sharp_edge,
        start_delay_ms=start_delay,
        average=average,
        camera=camera,
        durable=durable,
        faults=read_faults(faults_file) if faults_file is not None else None,
        rerecord=rerecord,
        reason=reason,
    )
    around = Surroundings(
        workers=workers,
        scheduler=scheduler,
        say=functools.partial(click.echo, err=True),
        guide=_guide if source == "cameras" and not yes else lambda kind: None,
        preview=functools.partial(_preview, preview) if preview is not None else None,
    )
    if output is None:
        _measure(request, around, speed)
        return
    plan = make_plan(request)
    outcomes = run_plan(plan, around)
    _report(plan, outcomes)
    if advise:
        _say_all(advise_recording(Recording.open(output), speed_px_per_ms=speed))
    if any(outcome.lost or outcome.problems for outcome in outcomes):
        click.get_current_context().exit(EXIT_LOSSES)


def _measure(request: CaptureRequest, around: Surroundings, speed: float | None) -> None:
    """Advise from static pairs taken now, which nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="capture-advise-") as name:
        measured = dataclasses.replace(
            request, output=Path(name) / "recording", calibrate=("static",), scene=None, look=""
        )
        plan = make_plan(measured)
        run_plan(plan, around)
        _say_all(advise_recording(Recording.open(plan.output), speed_px_per_ms=speed))


def _say_all(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _guide(kind: str) -> None:
    """Say what the next calibration needs, and wait until it is there."""
    click.echo(f"calibration {kind}: {GUIDES[kind]}", err=True)
    if sys.stdin.isatty():
        try:
            click.prompt("press Enter when it is ready", default="", show_default=False, err=True)
        except click.Abort as abort:  # what click makes of Ctrl-C
            raise KeyboardInterrupt from abort


def _preview(target: str, cameras: dict[Role, CameraRecord]) -> Preview:
    return Preview(None if target == "window" else Path(target), cameras)


def _list_cameras(*, emulated: bool) -> None:
    from localblur.acquisition.cameras.pylon import list_cameras

    if emulated:
        from localblur.acquisition.cameras.emulation import enable_emulator

        enable_emulator()
    cameras = list_cameras()
    for camera in cameras:
        details = "  ".join(text for text in (camera.address, camera.user_name) if text)
        click.echo(f"{camera.serial}  {camera.model}  {camera.interface}  {details}".rstrip())
    if not cameras:
        click.echo("no cameras found; check cables and power, or try: capture --pair --emulate -o recording")


def _verify(folder: Path) -> None:
    checked, problems = verify(folder)
    for problem in problems:
        click.echo(problem)
    click.echo(f"{folder}: {checked} pairs checked, {len(problems)} problems")
    if problems:
        click.get_current_context().exit(EXIT_ERROR)


def _report(plan: CapturePlan, outcomes: list[GroupOutcome]) -> None:
    for outcome in outcomes:
        already = f", {outcome.held} held already" if outcome.held else ""
        done = "replaced" if outcome.replaced else "committed"
        click.echo(
            f"{outcome.group}: {outcome.committed} of {outcome.asked} pairs {done}{already}, {len(outcome.lost)} lost"
        )
        if outcome.lost:
            click.echo(f"  last loss: {outcome.lost[-1]}")
        if outcome.problems:
            click.echo(f"  no good: {len(outcome.problems)} warnings above say why and what to do")
    click.echo(f"next: {_next_command(plan)}")


def _next_command(plan: CapturePlan) -> str:
    recording = Recording.open(plan.output)
    source = "" if plan.source == "cameras" else f" --{plan.source}"
    if "static" not in recording.calibrations:
        return f"capture{source} --calibrate static -o {plan.output}"
    if not recording.scenes:
        return f"capture --pair{source} -o {plan.output}"
    return f"align-dataset {plan.output} -o pairs.h5"
