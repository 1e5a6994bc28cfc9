"""Command `align-dataset`: recordings or plain pair folders in, one pairs file out."""

from pathlib import Path

import click

from localblur.alignment.run.align_run import Plan, make_plan, run_plan
from localblur.alignment.run.align_tasks import AlignDatasetSettings
from localblur.alignment.run.inputs import STATIC
from localblur.common.command import (
    EXIT_LOSSES,
    Command,
    output_option,
    overwrite_option,
    seed_option,
    settings_options,
    workers_options,
)
from localblur.common.settings import load_settings
from localblur.datasets.storage.schema import COMPRESSIONS, Compression
from localblur.datasets.storage.splits import DEFAULT_SPLIT


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@output_option("Pairs file to write (.h5).")
@click.option(
    "--masks",
    type=click.Choice(["sequence", "pair", "mog2", "none"]),
    help="Blur masks: from each pair alone (default); from each pair and the background of its scene (sequence: better"
    " for scenes of 4 pairs and more); by background subtraction (mog2); or none.",
)
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Folder for an HTML report.")
@click.option(
    "--size",
    metavar="WxH|SCALE",
    help="Store smaller pairs: 1076x718, or 0.5 of the captured size. The blurred picture is still resampled once, the"
    " sharp one alike; measures are taken at full size.",
)
@click.option(
    "--save-displacement",
    "displacement",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the displacement fields: SCENE_PAIR.npy, float32 (H, W, 2), positions in pixels, at full size.",
)
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="Coding of plain folders; 8-bit files default to srgb."
)
@click.option(
    "--store",
    type=click.Choice(["auto", "srgb8", "linear16"]),
    help="How pixels are stored; auto (default) is srgb8 from 8-bit files, else linear16.",
)
@click.option(
    "--render",
    type=click.Choice(["auto", "chart", "gains", "grey-world", "none"]),
    help="Camera colours to sRGB. auto (default): recordings by chart, given gains (--set render.gains=[2,1,1.5]) or"
    " grey-world; plain folders keep their colours.",
)
@click.option(
    "--split",
    default=DEFAULT_SPLIT,
    show_default=True,
    metavar="SPEC",
    help="Shares, or a file of 'scene split' lines.",
)
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="gzip", show_default=True)
@settings_options
@workers_options
@seed_option()
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def main(
    inputs: tuple[Path, ...],
    output: Path,
    masks: str | None,
    report: Path | None,
    size: str | None,
    displacement: Path | None,
    encoding: str | None,
    store: str | None,
    render: str | None,
    split: str,
    compression: Compression,
    config: Path | None,
    overrides: tuple[str, ...],
    workers: int,
    scheduler: str | None,
    seed: int,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Turn captured pairs into aligned ones with blur masks and a verdict.

    INPUT is a recording made by `capture`, or a folder with scenes/SCENE/NN_{blur,sharp}.png and, for a rig
    calibration, calibration/static/NN_{blur,sharp}.png. Without static pairs each pair is registered on its own.

    Masks that need whole scenes (sequence, mog2) follow when all pairs are aligned, in a copy of the output that then
    replaces it. Killed? Run the same command again: whatever is finished is kept.

    \b
    Examples:
      align-dataset recording -o pairs.h5 --report report
      align-dataset my_pairs -o pairs.h5 --masks sequence
      align-dataset my_pairs -o pairs.h5 --encoding linear --masks none
    """
    flags = {"masks": masks, "encoding": encoding, "store": store, "size": size, "render.method": render}
    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    settings = load_settings(AlignDatasetSettings, config, [*overrides, *given])
    plan = make_plan(inputs, settings, split, seed)
    if dry_run:
        _describe(plan, output)
        return
    outcome = run_plan(
        plan,
        output,
        report=report,
        displacement=displacement,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
        compression=compression,
    )
    if outcome.resumed:
        click.echo(f"continued: {outcome.resumed} pairs were finished already")
    for label, reasons in outcome.rejected.items():
        click.echo(f"rejected {label}: {reasons}")
    for label, cause in outcome.lost.items():
        click.echo(f"lost {label}: {cause}", err=True)
    for failure in outcome.unmasked:
        click.echo(f"no mask for {failure}", err=True)
    for note in outcome.notes:
        click.echo(note)
    accepted = outcome.pairs - len(outcome.rejected)
    click.echo(f"{output}: {accepted} accepted, {len(outcome.rejected)} rejected, {len(outcome.lost)} lost")
    if outcome.report:
        click.echo(f"report: {outcome.report}")
    if outcome.lost or outcome.unmasked or len(outcome.rejected) > settings.quality.max_rejected * outcome.pairs:
        click.get_current_context().exit(EXIT_LOSSES)


def _describe(plan: Plan, output: Path) -> None:
    for name, source in plan.inputs.items():
        click.echo(f"{name}: {source.kind}, {len(source.scenes())} scenes, {len(source.pairs(STATIC))} static pairs")
    for scene in plan.scenes:
        click.echo(f"  {scene} ({plan.splits[scene]}): {len(plan.pairs(scene))} pairs")
    total = sum(len(plan.pairs(scene)) for scene in plan.scenes)
    click.echo(f"would write {total} pairs as {plan.storage}, masks: {plan.settings.masks}, to {output}")
