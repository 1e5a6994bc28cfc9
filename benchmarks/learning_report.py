"""What `learning.py` reports: every finished run of a work folder, as Markdown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from learning_data import SOURCES
from learning_runs import NETWORK_RUNS, RESULT_NAME, read_result
from machine import describe_machine

from localblur.training.evaluation.comparison import Gain, compare, paired_gain
from localblur.training.evaluation.scoring import BLURRED, comparable_mean

CURVE_POINTS = 6
WANTED_DROP = 0.1

READING = """\
Gains are over the blurred picture, on the same {scenes} scenes for all, in dB; in brackets the 95 % bootstrap interval,
drawing scenes. Weighted numbers count the pixels of the blur mask alone, outside ones the others. The model after the
last step is tested, not the best on validation."""
NETWORKS_READING = """\
Short runs on the rig's pairs: the optimiser and objective of each recipe, its schedule shrunk to the run's length. The
error is the mean squared one that the validation patches' mean PSNR stands for, before the first and after the last
step."""


def report_text(work: Path, texts: Mapping[str, str]) -> str:
    """The whole report; `texts` says what each variant is, in the order of the table."""
    variants = _results(work / "variants", list(texts))
    networks = _results(work / "networks", list(NETWORK_RUNS))
    facts = [*describe_machine(), f"date: {datetime.now(UTC).date().isoformat()}; `python benchmarks/learning.py`"]
    lines = ["# What networks learn", "", *(f"- {fact}" for fact in facts), ""]
    if variants:
        scenes = len(next(iter(variants.values()))["scores"][BLURRED])
        lines += [
            "## lbag-small on pairs of the rig, of photographs and of video",
            "",
            READING.format(scenes=scenes),
            "",
        ]
        lines += [*_request_lines(variants), "", *_table(_gain_rows(variants, texts)), ""]
        lines += ["Weighted gain on each run's own validation patches, by step:", "", *_table(_curves(variants)), ""]
        if len(variants) > 1:
            lines += ["Weighted PSNR on the test against the first:", "", *_table(_comparisons(variants)), ""]
    if networks:
        lines += ["## Every other network", "", NETWORKS_READING, "", *_table(_network_rows(networks)), ""]
    return "\n".join(lines)


def _results(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {name: read_result(folder / name) for name in names if (folder / name / RESULT_NAME).is_file()}


def _request_lines(variants: Mapping[str, Any]) -> list[str]:
    requests = {str(result["request"]): result["request"] for result in variants.values()}
    lines = []
    for request in requests.values():
        changed = f", {', '.join(request['overrides'])}" if request["overrides"] else ""
        lines.append(f"- recipe {request['recipe']}, {request['steps']} steps, seed {request['seed']}{changed}")
    parts = {part for result in variants.values() for part in result["pairs"]}
    return [*lines, *(f"- {name}: {source.text}" for name, source in SOURCES.items() if name in {*parts, "test"})]


def _gain_rows(variants: Mapping[str, Any], texts: Mapping[str, str]) -> list[list[str]]:
    head = ["trained on", "pairs", "weighted PSNR", "gain", "PSNR gain", "gain outside", "change outside", "images/s"]
    rows = [head]
    first = next(iter(variants.values()))["scores"][BLURRED]
    rows.append(["(blurred)", "", _weighted(first, first), *[""] * 5])
    for name, result in variants.items():
        before, after = result["scores"][BLURRED], result["scores"][name]
        gains = [_gain_text(paired_gain(before, after, measure, 0)) for measure in _GAINS]
        change = comparable_mean(before, after, "outside_change").value
        pairs = " + ".join(str(count) for count in result["pairs"].values())
        cells = [f"{name}: {texts[name]}", pairs, _weighted(before, after), *gains]
        rows.append([*cells, f"{change:.2f} levels", f"{result['speed']:.0f}"])
    return rows


def _curves(variants: Mapping[str, Any]) -> list[list[str]]:
    """A few points of each run; runs of other lengths have rows of their own."""
    rows = [["", *(f"{share:.0%} of the steps" for share in _shares())]]
    for name, result in variants.items():
        curve = result["curve"]
        points = [curve[round(share * (len(curve) - 1))] for share in _shares()]
        rows.append([name, *(f"{_validation_gain(point):+.2f} (step {point['step']})" for point in points)])
    return rows


def _comparisons(variants: Mapping[str, Any]) -> list[list[str]]:
    names = list(variants)
    rows = [["", "difference", "p (bootstrap)", "scenes higher / lower"]]
    for name in names[1:]:
        found = compare(variants[names[0]]["scores"][names[0]], variants[name]["scores"][name], "weighted_psnr", 0)
        if found.mean is None or found.interval is None:
            continue
        told = f"{found.mean:+.2f} [{found.interval[0]:+.2f}, {found.interval[1]:+.2f}]"
        rows.append([f"{name} over {names[0]}", told, f"{found.p_bootstrap:.2g}", f"{found.higher} / {found.lower}"])
    return rows


def _network_rows(networks: Mapping[str, Any]) -> list[list[str]]:
    head = ["network", "run", "PSNR blurred", "step 0", "last step", "error lowered by", f"by {WANTED_DROP:.0%}"]
    rows = [[*head, "above blurred", "images/s"]]
    for name, result in networks.items():
        first, last, data = result["curve"][0], result["curve"][-1], result["values"]["data"]
        before, after = (10 ** (-point["psnr_restored"] / 10) for point in (first, last))
        drop = 1 - after / before
        run = f"{last['step']} steps of {data['batch']} x {data['patch_px']} px"
        numbers = [f"{first['psnr_blurred']:.2f}", f"{first['psnr_restored']:.2f}", f"{last['psnr_restored']:.2f}"]
        reached = "yes" if drop >= WANTED_DROP else "no"
        rows.append(
            [
                name,
                run,
                *numbers,
                f"{drop:.0%}",
                reached,
                f"{last['psnr_restored'] - last['psnr_blurred']:+.2f}",
                f"{result['speed']:.1f}",
            ]
        )
    return rows


_GAINS = ("weighted_psnr", "psnr", "outside_psnr")


def _shares() -> list[float]:
    return [index / (CURVE_POINTS - 1) for index in range(CURVE_POINTS)]


def _validation_gain(record: Mapping[str, Any]) -> float:
    return float(record["weighted_psnr_restored"] - record["weighted_psnr_blurred"])


def _weighted(before: Sequence[Any], after: Sequence[Any]) -> str:
    return f"{comparable_mean(before, after, 'weighted_psnr').value:.2f}"


def _gain_text(gain: Gain) -> str:
    if gain.mean is None or gain.over_scenes is None:
        return "-"
    return f"{gain.mean:+.2f} [{gain.over_scenes[0]:+.2f}, {gain.over_scenes[1]:+.2f}]"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
