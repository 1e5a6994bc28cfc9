"""The command `benchmark-deblur`: every network's size, arithmetic, speed and memory on this machine."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from localblur.common.command import Command, device_option, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, refuse_existing
from localblur.common.parallel import Progress
from localblur.training.inference.engine import Precision, number_type
from localblur.training.inference.network_speed import SIZES, Size, Speed, measure_all, measure_apart, memory_limit
from localblur.training.networks.base import parameter_count
from localblur.training.networks.complexity import count_macs
from localblur.training.networks.table import NETWORKS, network_entry
from localblur.training.runtime import resolve_device

COUNTED_PX = 256
TABLE_NAME, PLOT_NAME = "speed.csv", "speed.png"


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A network's parameters, and multiply-accumulates for an image of `COUNTED_PX` a side."""

    parameters: int
    macs: int


@click.command(cls=Command)
@click.option("--network", "networks", multiple=True, help="Only this network; give it several times. Default: all.")
@click.option("--size", "sizes", multiple=True, help="Only this size, WIDTHxHEIGHT; give it several times.")
@click.option("--budget", "budget_min", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Minutes.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Format.",
)
@device_option
@output_option(f"Folder for {TABLE_NAME} and {PLOT_NAME}.")
@overwrite_option
def main(
    networks: tuple[str, ...],
    sizes: tuple[str, ...],
    budget_min: float,
    precision: Precision,
    device: str,
    output: Path,
    overwrite: bool,
) -> None:
    """Measure every network on this machine: parameters, GMACs, images per second, peak memory.

    One image at a time, the whole of it at once, random weights; the GPU is waited for. Each cell runs in a process of
    its own. Small sizes come first; a cell that does not fit into the time or the memory that is left is skipped and
    says why.

    \b
    Example:
      benchmark-deblur -o speed --budget 5
    """
    for name in (TABLE_NAME, PLOT_NAME):
        refuse_existing(output / name, overwrite)
    chosen = list(networks or NETWORKS)
    weights = {name: weigh(name) for name in chosen}
    measured_sizes = [parse_size(text) for text in sizes] or list(SIZES)
    place = resolve_device(device)
    kind = str(number_type(precision, place)).removeprefix("torch.")

    def measure(network: str, size: Size, left_s: float) -> Speed:
        return measure_apart(network, size, left_s, precision=precision, device=device)

    speeds: list[Speed] = []
    with Progress(len(chosen) * len(measured_sizes), "benchmark", "cell") as progress:
        for speed in measure_all(
            chosen, measured_sizes, measure, budget_s=60 * budget_min, memory_bytes=memory_limit(place)
        ):
            speeds.append(speed)
            progress.step(f"{speed.network} {speed.size.name}")
    output.mkdir(parents=True, exist_ok=True)
    write_table(output / TABLE_NAME, weights, speeds)
    plot(output / PLOT_NAME, speeds, f"{device_name(place)}, {kind}")
    click.echo(f"{device_name(place)}, {kind}; images per second, and peak memory in GB")
    click.echo(table(weights, speeds))
    click.echo(f"table: {output / TABLE_NAME}; plot: {output / PLOT_NAME}")


def weigh(network: str) -> Weight:
    """Parameters and arithmetic of a network of the table; nothing is computed."""
    with torch.device("meta"):
        module = network_entry(network)()
    return Weight(parameters=parameter_count(module), macs=count_macs(module, (COUNTED_PX, COUNTED_PX)))


def parse_size(text: str) -> Size:
    """A size written WIDTHxHEIGHT.

    Raises:
        LocalblurError: if it is not.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise LocalblurError(f"{text!r} is no size; write WIDTHxHEIGHT, for example 1280x720")
    return Size(name=text, height=int(height), width=int(width))


def device_name(device: torch.device) -> str:
    """What the measurements ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"processor, {torch.get_num_threads()} threads"


def table(weights: dict[str, Weight], speeds: Sequence[Speed]) -> str:
    """One line a network; below it why cells are empty."""
    sizes = list(dict.fromkeys(speed.size.name for speed in speeds))
    rows = [["network", "M param.", f"GMACs {COUNTED_PX}", *sizes]]
    for name, weight in weights.items():
        cells = {speed.size.name: speed for speed in speeds if speed.network == name}
        figures = [_figure(cells[size]) for size in sizes]
        rows.append([name, f"{weight.parameters / 1e6:.2f}", f"{weight.macs / 1e9:.1f}", *figures])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    skipped = [f"{speed.network} {speed.size.name}: skipped, {speed.skipped}" for speed in speeds if speed.skipped]
    return "\n".join(lines + skipped)


def _figure(speed: Speed) -> str:
    if speed.skipped:
        return f"- ({speed.skipped.partition(':')[0]})"
    return f"{speed.images_per_s:.3g}/s {speed.peak_bytes / 1e9:.2f}"


def write_table(path: Path, weights: dict[str, Weight], speeds: Sequence[Speed]) -> None:
    """All measurements, one line each."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        head = ["network", "parameters", f"gmacs_{COUNTED_PX}", "width", "height", "seconds", "images_per_s", "peak_gb"]
        lines.writerow([*head, "skipped"])
        for speed in speeds:
            weight = weights[speed.network]
            measured = [speed.seconds, speed.images_per_s, speed.peak_bytes / 1e9]
            lines.writerow(
                [speed.network, weight.parameters, f"{weight.macs / 1e9:.2f}", speed.size.width, speed.size.height]
                + ["" if math.isnan(value) else f"{value:.5g}" for value in measured]
                + [speed.skipped]
            )


def plot(path: Path, speeds: Sequence[Speed], title: str) -> None:
    """Speed and memory against image size, a line a network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for name in dict.fromkeys(speed.network for speed in speeds):
        done = [speed for speed in speeds if speed.network == name and not speed.skipped]
        megapixels = [speed.size.pixels / 1e6 for speed in done]
        axes[0].plot(megapixels, [speed.images_per_s for speed in done], marker="o", markersize=3, label=name)
        axes[1].plot(megapixels, [speed.peak_bytes / 1e9 for speed in done], marker="o", markersize=3, label=name)
    for chart, label in zip(axes, ("images per second", "peak memory, GB"), strict=True):
        chart.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        chart.grid(alpha=0.3)
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
