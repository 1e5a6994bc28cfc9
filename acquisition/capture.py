"""Command `capture`: record synchronised pairs with two cameras, real, emulated or simulated."""

from pathlib import Path

import click

from localblur.acquisition.plan import CapturePlan, CaptureRequest, make_plan
from localblur.acquisition.rig import ShotKind
from localblur.acquisition.session import SATURATION_WARNING, GroupOutcome, run_plan
from localblur.acquisition.sources import SourceKind
from localblur.common.command import (
    EXIT_ERROR,
    EXIT_LOSSES,
    Command,
    output_option,
    seed_option,
    workers_options,
)
from localblur.datasets.recording import Recording, Role, verify


def _parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    width, _, height = value.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise click.BadParameter(f"{value!r} is no size; write for example 640x480", ctx, param)
    return int(width), int(height)


@click.command(cls=Command)
@click.option("--pair", is_flag=True, help="Record pairs of a scene.")
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
    type=click.Choice(["static", "dark", "flat", "chart"]),
    help="Record calibration pairs: nothing moves / lens caps on / even white field / colour chart. Repeatable.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Pairs the group shall hold when done.  [default: scene 10, static 8, dark 4, flat 4, chart 2]",
)
@click.option("--exposure-long", type=float, metavar="MS", help="Camera B's exposure in ms.  [default: 20]")
@click.option("--exposure-short", type=float, metavar="MS", help="Camera S's exposure in ms.  [default: 2]")
@click.option("--interval", type=click.FloatRange(min=0), default=0, metavar="MS", help="Least ms between triggers.")
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
@seed_option()
@workers_options
@output_option("Recording folder; new, or one to add to.", required=False)
@click.option("--resume", is_flag=True, help="Continue a scene or calibration that was begun.")
@click.option("--list", "list_only", is_flag=True, help="Show the connected cameras.")
@click.option(
    "--verify", "verify_folder", type=click.Path(path_type=Path), metavar="RECORDING", help="Check all pairs."
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
    verify_folder: Path | None,
) -> None:
    """Record synchronised pairs: camera B with a long exposure (blurred), camera S with a short one (sharp).

    A pair counts when both frames and its journal line are on the disk. Lost attempts are recorded and repeated.
    Scenes and calibrations of one rig add up in one recording. Exit code 3: complete, but attempts were lost.

    \b
    Examples:
      capture --pair --emulate street --count 20 -o recording
      capture --emulate --calibrate static --calibrate chart -o recording
      capture --list
      capture --pair --blur 40001234 --sharp 40005678 --scene desk --count 50 \\
              --exposure-long 20 --exposure-short 2 -o recording
      capture --verify recording
    """
    if list_only:
        _list_cameras(emulated=emulate is not None)
        return
    if verify_folder is not None:
        _verify(verify_folder)
        return
    if not pair and not calibrate:
        raise click.UsageError("say what to do: --pair, --calibrate KIND, --list or --verify RECORDING")
    if output is None:
        raise click.UsageError("Missing option '--output' / '-o': where shall the recording go?")
    if simulate is not None and emulate is not None:
        raise click.UsageError("--simulate and --emulate exclude each other")
    source: SourceKind = "simulate" if simulate is not None else "emulate" if emulate is not None else "cameras"
    look = simulate or emulate or ""
    request = CaptureRequest(
        output=output,
        source=source,
        scene=scene,
        look=look,
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
    )
    plan = make_plan(request)
    outcomes = run_plan(plan, workers=workers, scheduler=scheduler)
    _report(plan, outcomes)
    if any(outcome.lost for outcome in outcomes):
        click.get_current_context().exit(EXIT_LOSSES)


def _list_cameras(*, emulated: bool) -> None:
    from localblur.acquisition.pylon import list_cameras

    if emulated:
        from localblur.acquisition.emulation import enable_emulator

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
        click.echo(
            f"{outcome.group}: {outcome.committed} of {max(0, outcome.asked - outcome.held)} pairs committed{already},"
            f" {len(outcome.lost)} lost"
        )
        if outcome.lost:
            click.echo(f"  last loss: {outcome.lost[-1]}")
        for role, share in outcome.saturated.items():
            if share > SATURATION_WARNING:
                click.echo(f"  camera {role}: up to {100 * share:.1f} % of the pixels saturated; shorten its exposure")
    click.echo(f"next: {_next_command(plan)}")


def _next_command(plan: CapturePlan) -> str:
    recording = Recording.open(plan.output)
    source = "" if plan.source == "cameras" else f" --{plan.source}"
    if "static" not in recording.calibrations:
        return f"capture{source} --calibrate static -o {plan.output}"
    if not recording.scenes:
        return f"capture --pair{source} -o {plan.output}"
    return f"align-dataset {plan.output} -o pairs.h5"
