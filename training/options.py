"""Command-line options that mean the same in every command that runs a network."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from localblur.common.command import device_option
from localblur.training.networks.table import NETWORKS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def parse_tile(_ctx: click.Context, _option: click.Parameter, value: str) -> int | str:
    """A window size in pixels, `auto` or `none`."""
    if value in ("auto", "none"):
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is not a number of pixels, auto or none")
    return int(value)


network_option = click.option(
    "--network",
    type=click.Choice(list(NETWORKS)),
    metavar="NAME",
    help=f"Network of a file of weights as its authors published it ({', '.join(NETWORKS)}); folders know their own.",
)
"""`--network`: what a published file is of."""


def inference_options(function: Decorated) -> Decorated:
    """`--tile`, `--precision` and `--device`."""
    function = click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="Number format; auto takes bf16 where the hardware multiplies it itself.",
    )(function)
    function = click.option(
        "--tile",
        callback=parse_tile,
        default="auto",
        show_default=True,
        metavar="PX|auto|none",
        help="Work in windows of PX x PX pixels; auto does so with large pictures, and with less"
        " than the memory they take.",
    )(function)
    return device_option(function)
