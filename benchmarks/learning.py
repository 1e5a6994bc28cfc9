"""What networks learn, repeatably: `python benchmarks/learning.py --work FOLDER` writes benchmarks/LEARNING.md.

`lbag-small` is trained on several kinds of data with one recipe, one number of steps and one seed, and tested on the
fixed sixty scenes; with `--networks` every other network makes a short run on the rig's pairs. It takes hours, so it is
no part of `make bench`. It can be stopped at any time (Ctrl-C, `--minutes`): the same call continues.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from learning_data import count_pairs, data_file
from learning_report import report_text
from learning_runs import (
    NETWORK_RUNS,
    as_overrides,
    network_values,
    read_result,
    refuse_other_request,
    test_scores,
    write_result,
)

from localblur.common.command import Command
from localblur.common.files import write_text
from localblur.common.parallel import default_workers
from localblur.training.running.config import read_recipe
from localblur.training.running.run_log import read_log
from localblur.training.train_lbag import TrainingRequest, run_training

RECIPE = "lbag-small"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Data to train on, and settings over the recipe's."""

    data: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    text: str


VARIANTS = {
    "rig": Variant(data=("rig",), text="rig pairs"),
    "local": Variant(data=("local",), text="pairs from photographs"),
    "gopro": Variant(data=("gopro",), text="pairs from video"),
    "rig+local": Variant(
        data=("rig", "local"), values={"data": {"weights": [0.5, 0.5]}}, text="half rig pairs, half from photographs"
    ),
    "rig+augment": Variant(
        data=("rig",),
        values={"data": {"augment": {"local_blur": 0.5, "local_blur_px": [8.0, 40.0]}}},
        text="rig pairs, over half of the patches parts of their sharp picture move as well",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a call asks for.

    Attributes:
        work: folder of data, runs and results.
        steps: of every run; None is the recipe's, or the table's for `--networks`.
        pairs: of every kind of data that is made.
        photos: for the pairs from photographs.
        overrides: `--set` of every variant.
        seed, workers: as everywhere.
        until: `time.monotonic()` at which to stop.
    """

    work: Path
    steps: int | None
    pairs: int
    photos: tuple[Path, ...]
    overrides: tuple[str, ...]
    seed: int
    workers: int
    until: float | None

    def data(self, name: str) -> Path:
        """The pairs file called `name`, made if need be."""
        return data_file(self.work / "data", name, self.pairs, self.photos, self.workers)


@click.command(cls=Command)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder of data, runs and results.")
@click.option("--only", multiple=True, metavar="NAME", help="Only these variants or networks; may be repeated.")
@click.option("--networks", is_flag=True, help="Short runs of all other networks instead.")
@click.option("--steps", type=click.IntRange(min=1), help="Of every run.  [default: the recipe's]")
@click.option("--pairs", type=click.IntRange(min=24), default=720, show_default=True, help="Of each kind of data.")
@click.option(
    "--photos", type=click.Path(path_type=Path), multiple=True, help="For synthesize-local.  [default: generated]"
)
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Override a setting in every run.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--minutes", type=float, help="Stop cleanly after so many minutes; the same call continues.")
@click.option("--workers", type=click.IntRange(min=0), default=default_workers, show_default="cores", help="For data.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path(__file__).with_name("LEARNING.md"),
    help="The report.",
)
def main(
    work: Path,
    only: tuple[str, ...],
    networks: bool,
    steps: int | None,
    pairs: int,
    photos: tuple[Path, ...],
    overrides: tuple[str, ...],
    seed: int,
    minutes: float | None,
    workers: int,
    output: Path,
) -> None:
    """Train, test, and write the report.

    \b
    Examples:
      python benchmarks/learning.py --work build/learning --steps 3000
      python benchmarks/learning.py --work build/learning --only gopro --minutes 30
      python benchmarks/learning.py --work build/learning --networks
    """
    known = NETWORK_RUNS if networks else VARIANTS
    unknown = [name for name in only if name not in known]
    if unknown:
        raise click.UsageError(f"unknown name {unknown[0]!r}; there are {', '.join(known)}")
    plan = Plan(
        work=work,
        steps=steps,
        pairs=pairs,
        photos=photos,
        overrides=overrides,
        seed=seed,
        workers=workers,
        until=None if minutes is None else time.monotonic() + 60 * minutes,
    )
    names = list(only or known)
    for number, name in enumerate(names, start=1):
        heading = f"[{number}/{len(names)}] {name}"
        finished = network_run(plan, name, heading) if networks else variant_run(plan, name, heading)
        if not finished:
            click.echo(f"{heading}: out of time; the same call continues")
            break
        write_text(output, report_text(work, {name: variant.text for name, variant in VARIANTS.items()}))
        click.echo(f"{heading}: done; report: {output}")


def variant_run(plan: Plan, name: str, heading: str) -> bool:
    """Train and test one variant unless that was done; returns whether it is finished."""
    variant, place = VARIANTS[name], plan.work / "variants" / name
    steps = plan.steps or int(read_recipe(RECIPE)["steps"])
    request = {"recipe": RECIPE, "steps": steps, "seed": plan.seed, "overrides": list(plan.overrides)}
    if refuse_other_request(place, request):
        return True
    files = [plan.data(part) for part in variant.data]
    counts = {part: count_pairs(file, "train") for part, file in zip(variant.data, files, strict=True)}
    told = " and ".join(f"{count} {part}" for part, count in counts.items())
    click.echo(f"{heading}: training {RECIPE} for {steps} steps on {told} pairs")
    if not _trained(plan, tuple(files), place / "run", RECIPE, {**variant.values, "steps": steps}):
        return False
    test = plan.data("test")
    click.echo(f"{heading}: testing on {count_pairs(test, 'test')} scenes")
    scores = test_scores(test, place / "run" / "last", name, plan.seed)
    curve = [record for record in read_log(place / "run") if record["kind"] == "validation"]
    write_result(place, request, {"pairs": counts, "curve": curve, "speed": _speed(place / "run")}, scores)
    return True


def network_run(plan: Plan, name: str, heading: str) -> bool:
    """A short run of one network unless that was done; returns whether it is finished."""
    place = plan.work / "networks" / name
    values = network_values(name, plan.steps)
    request = {"recipe": name, "steps": values["steps"], "seed": plan.seed, "overrides": list(plan.overrides)}
    if refuse_other_request(place, request):
        return True
    shape = f"{values['data']['batch']} patches of {values['data']['patch_px']} px"
    click.echo(f"{heading}: {values['steps']} steps of {shape}")
    if not _trained(plan, (plan.data("rig"),), place / "run", name, values):
        return False
    curve = [record for record in read_log(place / "run") if record["kind"] == "validation"]
    write_result(place, request, {"values": values, "curve": curve, "speed": _speed(place / "run")}, {})
    click.echo(f"{heading}: {_told(read_result(place))}")
    return True


def _trained(plan: Plan, files: tuple[Path, ...], run: Path, recipe: str, values: Mapping[str, Any]) -> bool:
    """Begin or continue a run; False when the time is over. Ctrl-C ends the call."""
    more: dict[str, Any] = {}
    if plan.until is not None:
        left = (plan.until - time.monotonic()) / 60
        if left <= 0:
            return False
        more["max_minutes"] = left
    summary = run_training(
        TrainingRequest(
            data=files,
            output=run,
            recipe=recipe,
            values={"seed": plan.seed, **more},
            overrides=(*as_overrides(values), *plan.overrides),
            resume=True,
            device="cpu",
        )
    )
    if summary.reason == "interrupted":
        raise KeyboardInterrupt
    return summary.reason == "finished"


def _speed(run: Path) -> float:
    """Images per second, the median of the log."""
    speeds = [record["images_per_s"] for record in read_log(run) if record["kind"] == "train"]
    return float(torch.tensor(speeds).median())


def _told(result: Mapping[str, Any]) -> str:
    first, last = result["curve"][0], result["curve"][-1]
    return f"validation PSNR {first['psnr_restored']:.2f} to {last['psnr_restored']:.2f} dB"


if __name__ == "__main__":
    main()
