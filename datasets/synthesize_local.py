"""Command `synthesize-local`: blurred and sharp pairs with exact masks from photographs, or from nothing at all."""

import json
from pathlib import Path
from typing import Any

import click

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
from localblur.common.errors import LocalblurError
from localblur.common.parallel import open_executor
from localblur.common.settings import load_settings
from localblur.datasets.light.noise import parse_noise
from localblur.datasets.light.realism import noise_override
from localblur.datasets.local.pairs import LocalSynthesisSettings
from localblur.datasets.local.preview import write_preview
from localblur.datasets.local.synthesis import LocalSynthesis, plan_local, synthesize_local
from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.storage.splits import DEFAULT_SPLIT

PROBLEMS_SHOWN = 10


def _size(_ctx: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`512x384` as width and height."""
    if value is None:
        return None
    try:
        width, height = (int(side) for side in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a size like 512x512") from None
    return width, height


def _length(_ctx: click.Context, _option: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """`20` or `3..40` as the smallest and the largest length."""
    if value is None:
        return None
    try:
        return parse_range(value, float)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a length in px like 20 nor a range like 3..40") from None


@click.command(cls=Command)
@click.argument("photographs", nargs=-1, metavar="[PHOTOS]...", type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5).")
@click.option("--mode", type=click.Choice(["local", "global"]), help="Objects move, or all shakes [default: local].")
@click.option("--count", type=click.IntRange(1, 1_000_000), help="Number of pairs [default: 200].")
@click.option("--size", metavar="WxH", callback=_size, help="Size of the pictures in px [default: 512x512].")
@click.option(
    "--blur-length",
    metavar="PX|A..B",
    callback=_length,
    help="Length of the motion in px [default: 3..40; global 5..60].",
)
@click.option("--objects", type=click.Path(path_type=Path), help="Folder of pictures to cut objects from.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of their masks, with the same names.")
@click.option("--grabcut/--no-grabcut", default=None, help="Find objects that have no mask [default: grabcut].")
@click.option("--realism/--no-realism", default=None, help="Add what a camera adds [default: no-realism].")
@click.option(
    "--noise",
    metavar="FULL_WELL,READ|FILE",
    help="Noise of the camera in electrons, or a file with it; alone, or in --realism.",
)
@click.option("--split", help=f"Shares or file that assigns scenes to splits [default: {DEFAULT_SPLIT}].")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="gzip", show_default=True)
@seed_option()
@settings_options
@workers_options
@overwrite_option
@click.option("--preview", is_flag=True, help="Also write a contact sheet beside the output (.png).")
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@click.pass_context
def main(
    ctx: click.Context,
    photographs: tuple[Path, ...],
    output: Path,
    mode: str | None,
    count: int | None,
    size: tuple[int, int] | None,
    blur_length: tuple[float, float] | None,
    objects: Path | None,
    masks: Path | None,
    grabcut: bool | None,
    realism: bool | None,
    noise: str | None,
    split: str | None,
    compression: Compression,
    seed: int,
    config: Path | None,
    overrides: tuple[str, ...],
    workers: int,
    scheduler: str | None,
    overwrite: bool,
    preview: bool,
    dry_run: bool,
) -> None:
    """Make blurred/sharp pairs with exact blur masks, without video.

    Objects cut from photographs move over photographs while an exposure lasts; light is added up linearly, and the
    sharp picture is the middle of the exposure. PHOTOS are pictures or folders of pictures; without any, backgrounds
    and objects are procedural. With --mode global the whole picture is blurred by a random camera shake. Objects come
    from --objects (with an alpha channel, or with --masks), or are found in PHOTOS; look at them in OUTPUT.cutouts.

    \b
    Examples:
      synthesize-local photos -o local.h5 --count 1000 --realism --preview
      synthesize-local photos -o shaken.h5 --mode global --blur-length 5..40 --noise 9600,4
      synthesize-local -o procedural.h5 --size 256x256
    """
    given: dict[str, Any] = {"mode": mode, "count": count, "split": split, "seed": seed if _told(ctx, "seed") else None}
    if size is not None:
        given |= {"width": size[0], "height": size[1]}
    settings = _resolve(config, [*overrides, *_given(given, blur_length, grabcut)], realism, noise)
    if masks is not None and objects is None and not photographs:
        raise LocalblurError("--masks needs the pictures they belong to: give --objects or PHOTOS")
    if dry_run:
        _describe(photographs, settings)
        return
    with open_executor(workers, scheduler) as executor:
        done = synthesize_local(
            photographs,
            output,
            settings,
            objects=objects,
            masks=masks,
            compression=compression,
            overwrite=overwrite,
            executor=executor,
        )
    _report(output, done)
    if preview:
        click.echo(f"contact sheet: {write_preview(output)}")
    if done.problems:
        ctx.exit(EXIT_LOSSES)


def _told(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _given(given: dict[str, Any], blur_length: tuple[float, float] | None, grabcut: bool | None) -> list[str]:
    """Flags as `--set` texts: they win over the settings file, their defaults do not."""
    texts = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    if blur_length is not None:
        texts += [f"{name}={json.dumps(blur_length)}" for name in ("blur.blur_px", "shake.length_px")]
    if grabcut is not None:
        texts.append("grabcut={}" if grabcut else "grabcut=null")
    return texts


def _resolve(
    config: Path | None, overrides: list[str], realism: bool | None, noise: str | None
) -> LocalSynthesisSettings:
    """The settings; a camera's noise alone switches all other stages of the camera off."""
    if realism is not None:
        overrides.insert(0, "realism={}" if realism else "realism=null")
    settings = load_settings(LocalSynthesisSettings, config, overrides)
    if noise is None:
        return settings
    chain = noise_override(settings.realism, parse_noise(noise))
    return load_settings(LocalSynthesisSettings, config, [*overrides, f"realism={json.dumps(chain)}"])


def _describe(photographs: tuple[Path, ...], settings: LocalSynthesisSettings) -> None:
    plan = plan_local(photographs, settings)
    kind = "photographs" if plan.photographs else "procedural backgrounds"
    click.echo(f"{settings.count} pairs of {settings.width}x{settings.height} from {len(plan.scenes)} {kind}")
    for split in ("train", "val", "test"):
        scenes = [scene for scene in plan.scenes if plan.splits[scene.name] == split]
        click.echo(f"{split}: {sum(len(scene.pairs) for scene in scenes)} pairs in {len(scenes)} scenes")
    _tell(plan.problems)


def _report(output: Path, done: LocalSynthesis) -> None:
    rate = f", {done.made / done.seconds:.1f} pairs/s" if done.made and done.seconds > 0 else ""
    click.echo(f"{output}: {done.pairs} pairs in {done.scenes} scenes{rate}")
    if done.cutouts or done.without_object:
        refused = f", in {done.without_object} photographs no object was found" if done.without_object else ""
        click.echo(
            f"{output}.cutouts: {done.cutouts} objects{refused}; delete what is none, then --objects that folder"
        )
    _tell(done.problems)


def _tell(problems: list[str]) -> None:
    for problem in problems[:PROBLEMS_SHOWN]:
        click.echo(f"left out: {problem}", err=True)
    if len(problems) > PROBLEMS_SHOWN:
        click.echo(f"left out: {len(problems) - PROBLEMS_SHOWN} more", err=True)
