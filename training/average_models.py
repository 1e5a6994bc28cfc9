"""The command `python -m localblur.training.average_models`: a model between two, weight by weight."""

from pathlib import Path

import click
import torch

from localblur.common.command import Command, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing
from localblur.training.checkpoint import AveragedPart, ModelCard, load_model, save_model
from localblur.training.networks.base import RestorationNetwork
from localblur.training.published_weights import named


@click.command(cls=Command)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Of SECOND in the average.",
)
@output_option("Folder of the new model.")
@overwrite_option
def main(first: Path, second: Path, share: float, output: Path, overwrite: bool) -> None:
    """Average the weights of two models: FIRST, and SECOND that was trained on from it.

    Between the weights before and after training on lie models that keep more of what was known and have most of what
    was learnt. Two models trained apart have no such average. MODEL folders or run folders; model-in-the-box is one.

    \b
    Example:
      python -m localblur.training.average_models model-in-the-box run/last --share 0.7 -o between

    Reference: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    if not 0 < share < 1:  # NaN is in no range and outside none
        raise click.BadParameter("must be a number between 0 and 1", param_hint="--share")
    refuse_existing(output, overwrite)
    parts = [load_model(named(path)) for path in (first, second)]
    (_, start), (module, card) = parts
    if (start.network, start.options) != (card.network, card.options):
        raise LocalblurError(
            f"{first} is {start.network}, {second} is {card.network}, or their options differ; only models of one"
            " network have an average"
        )
    average_into(module, parts[0][0], share)
    told = tuple(
        AveragedPart(
            name=path.name or str(path), share=portion, step=part.metrics.get("step"), data=part.data_fingerprint
        )
        for path, portion, part in ((first, 1 - share, start), (second, share, card))
    )
    saved = save_model(
        output, card.network, card.options, module, card.recipe, {}, card.data_fingerprint, averaged=told
    )
    click.echo(f"{_text(saved)}: {output}")


def average_into(module: RestorationNetwork, other: RestorationNetwork, share: float) -> None:
    """Make every weight of `module` `share` of itself and the rest of `other`'s; counters stay its own."""
    with torch.no_grad():
        others = other.state_dict()
        for name, values in module.state_dict().items():
            if values.is_floating_point():
                values.copy_((1 - share) * others[name] + share * values)


def _text(card: ModelCard) -> str:
    return " and ".join(f"{part.share:.0%} of {part.name}" for part in card.averaged)


if __name__ == "__main__":
    main()
