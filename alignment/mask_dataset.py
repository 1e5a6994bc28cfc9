"""Command `mask-dataset`: blur masks for a pairs file, in place, or for a folder of plain pairs."""

from collections.abc import Sequence
from pathlib import Path

import click

from localblur.alignment.masks.blur_masks import METHODS, MaskSettings
from localblur.alignment.masks.compare import compare_masks
from localblur.alignment.masks.foreign import import_masks
from localblur.alignment.masks.report import tell_comparison, tell_import, tell_run
from localblur.alignment.masks.run import Encoding, doubtful_masks, mask_folder, mask_pairs_file
from localblur.alignment.masks.set import BINARY, Binary, MaskSet
from localblur.common.command import EXIT_LOSSES, Command, overwrite_option, settings_options, workers_options
from localblur.common.settings import load_settings


@click.command(cls=Command)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for the masks of a plain pair folder.")
@click.option("--method", type=click.Choice(sorted(METHODS)), help="How masks are made.  [default: sequence]")
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="How a folder's files code light; needed for 16 bit."
)
@click.option(
    "--diff", "other", type=click.Path(path_type=Path), help="Make nothing; compare INPUT's masks with these."
)
@click.option(
    "--from", "origin", type=click.Path(path_type=Path), help="Make nothing; take over the masks of this set."
)
@click.option("--limit", type=click.FloatRange(0, 1), help="With --diff: exit with 3 if a pair's IoU is below this.")
@click.option(
    "--binary",
    type=click.Choice(sorted(BINARY)),
    default="half",
    show_default=True,
    help="With --diff and --from: what is blurred in that set, 128 and above, or all but 0.",
)
@settings_options
@workers_options
@overwrite_option
@click.pass_context
def main(
    ctx: click.Context,
    source: Path,
    output: Path | None,
    method: str | None,
    encoding: Encoding | None,
    other: Path | None,
    origin: Path | None,
    limit: float | None,
    binary: Binary,
    config: Path | None,
    overrides: Sequence[str],
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Make soft blur masks: for each pixel the confidence that a moving object covered it during the long exposure.

    INPUT is a pairs file, which gets its masks in place, or a plain pair folder; its masks become
    OUTPUT/SCENE/PAIR.png. 128 and above is blurred. How far each mask can be trusted is kept among the measures of the
    pair (mask_confidence), or in a table in OUTPUT.

    --diff compares INPUT's masks with another set, --from puts that set into the pairs file INPUT: a pairs file, or a
    folder of pictures or plain .npy arrays by scene and pair (the layout of ReLoBlur and LMD-ViT too).

    \b
    Example:
      mask-dataset pairs.h5
      mask-dataset my_pairs -o my_masks --method pair
      mask-dataset pairs.h5 --diff ReLoBlur/masks --binary nonzero
      mask-dataset pairs.h5 --from LMD-ViT/masks --overwrite
    """
    making = (output, method, encoding, config, overrides or None)
    if (other is not None or origin is not None) and any(option is not None for option in making):
        raise click.UsageError(
            "--diff and --from make no masks: leave --output, --method, --encoding, --config and --set out"
        )
    if other is not None and origin is not None:
        raise click.UsageError("--diff compares, --from replaces: give one of them")
    if other is not None:
        below = tell_comparison(compare_masks(MaskSet(source), MaskSet(other, binary)), limit)
        ctx.exit(EXIT_LOSSES if below else 0)
    if limit is not None:
        raise click.UsageError("--limit needs --diff")
    if origin is not None:
        if source.is_dir():
            raise click.UsageError("--from fills a pairs file: INPUT must be one")
        ctx.exit(EXIT_LOSSES if tell_import(import_masks(source, origin, binary, overwrite=overwrite), source) else 0)
    chosen = [f"method={method}"] if method else []
    settings = load_settings(MaskSettings, config, [*overrides, *chosen])
    if source.is_dir():
        if output is None:
            raise click.UsageError("a folder of pairs needs --output for its masks")
        done = mask_folder(
            source, output, settings, encoding=encoding, overwrite=overwrite, workers=workers, scheduler=scheduler
        )
        tell_run(done, output, done.doubtful(settings.doubtful_below), settings.doubtful_below)
    else:
        if output is not None or encoding is not None:
            raise click.UsageError("a pairs file gets its masks in place: leave --output and --encoding out")
        done = mask_pairs_file(source, settings, overwrite=overwrite, workers=workers, scheduler=scheduler)
        doubtful = doubtful_masks(source, settings.doubtful_below)
        tell_run(done, source, doubtful, settings.doubtful_below)
    if done.failures:
        ctx.exit(EXIT_LOSSES)
