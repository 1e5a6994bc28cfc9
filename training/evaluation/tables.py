"""The tables of an evaluation, each as rows of texts made from its summary; the first row is the head."""

from collections.abc import Mapping, Sequence
from typing import Any

from localblur.training.evaluation.measures import ALIGNED, HEADLINE, MEASURES, WITHOUT_REFERENCE
from localblur.training.evaluation.scoring import BLURRED

Rows = list[list[str]]
NONE = "-"
SHARP = "sharp"
_FEW_SCENES = 10
"""From here on a 95 % interval covers the truth in nine cases of ten."""


def headline_table(summary: Mapping[str, Any]) -> Rows:
    """The four numbers of the papers, and gains over the blurred picture."""
    rows = [["", *(MEASURES[name].title for name in HEADLINE)]]
    for method, content in summary["methods"].items():
        rows.append([method, *(cell(content, name) for name in HEADLINE)])
    return rows


def further_table(summary: Mapping[str, Any]) -> Rows:
    """The other numbers that at least one method has, one in a row; the sharp pictures' own in the last column."""
    methods, reference = summary["methods"], summary["reference"]
    rows = [["", *methods, SHARP]]
    for name, measure in MEASURES.items():
        known = any(content["mean"][name]["value"] is not None for content in methods.values())
        if name not in HEADLINE and known:
            own = _number(reference[name]["value"], name) if name in WITHOUT_REFERENCE else ""
            # of what is only ever 0 for the blurred picture, or better neither way, the gain tells nothing more
            show = cell if measure.better == "higher" else _mean_alone
            rows.append([measure.title, *(show(content, name) for content in methods.values()), own])
    return rows


def method_table(summary: Mapping[str, Any]) -> Rows:
    """What each model is: network, size, recipe, training data; only a head without models."""
    rows = [["", "network", "parameters", "recipe", "trained on"]]
    for label, content in summary["methods"].items():
        model = content["model"]
        if model is not None:
            origin = ", ".join(model["trained_on_files"]) or "unknown"
            size = f"{model['parameters'] / 1e6:.2f} M"
            rows.append([label, model["network"], size, model["recipe"] or "unknown", origin])
    return rows


def comparison_table(summary: Mapping[str, Any]) -> Rows:
    """Any two methods in the leading measure; only a head where there are fewer than two."""
    name = summary["leading_measure"]
    rows = [["", MEASURES[name].title, "95 % interval", "p bootstrap", "p Wilcoxon", "scenes higher/lower/equal"]]
    for pair in summary["comparisons"]:
        found = pair["measures"][name]
        rows.append(
            [
                f"{pair['second']} over {pair['first']}",
                _signed(found["difference"], name),
                _interval(found["interval_95_over_scenes"], name) or NONE,
                *(NONE if p is None else f"{p:.2g}" for p in (found["p_bootstrap"], found["p_wilcoxon"])),
                "/".join(str(count) for count in found["scenes_higher_lower_equal"]),
            ]
        )
    return rows


def detection_table(summary: Mapping[str, Any]) -> Rows:
    """Agreement of the detections with those on the sharp pictures; only a head without a detector."""
    rows = [["", "precision", "recall", "F1", "95 % interval", "in both", "only here", "only in sharp"]]
    for method, found in summary["detection"].items():
        shares = [NONE if found[name] is None else f"{found[name]:.3f}" for name in ("precision", "recall", "f1")]
        span = found["f1_interval"]
        rows.append(
            [
                *(method, *shares, NONE if span is None else f"[{span[0]:.3f}, {span[1]:.3f}]"),
                *(str(found[name]) for name in ("both", "only_here", "only_sharp")),
            ]
        )
    return rows


def file_table(summary: Mapping[str, Any]) -> Rows:
    """Trained on (rows), tested on (columns), in the leading measure; * marks the file a model was trained on."""
    name, rows = summary["leading_measure"], summary["files"]
    labels = list(rows[0]["tested_on"])
    table = [["", "trained on", *(f"tested on {label}" for label in labels)]]
    for row in rows:
        origin = ", ".join(row["trained_on"]) or (NONE if row["method"] == BLURRED else "unknown")
        table.append([row["method"], origin, *(_file_cell(row["tested_on"][label], name) for label in labels)])
    return table


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def cell(content: Mapping[str, Any], name: str) -> str:
    """Mean of one measure and, for a method, its gain with the interval over scenes; "-" where there is none."""
    text = _number(content["mean"][name]["value"], name)
    gain = content.get("gain", {}).get(name)
    if gain is None or gain["mean"] is None:
        return text
    return f"{text} ({_gain(gain['mean'], gain['interval_95_over_scenes'], name)})"


def _mean_alone(content: Mapping[str, Any], name: str) -> str:
    return _number(content["mean"][name]["value"], name)


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What must be known to read the tables."""
    counts = f"{summary['pairs']} pairs of {summary['scenes']} scenes; {summary['rejected']} rejected pairs left out"
    lines = [f"split {summary['settings']['split']}: {counts}", *_mask_remarks(summary)]
    methods = summary["methods"]
    if methods.keys() - {BLURRED}:
        many = summary["scenes"] > 1
        lines.append(
            "in brackets: gain over the blurred picture"
            + (", 95 % bootstrap interval, drawing scenes" if many else "; one scene gives no interval for others")
        )
        if many and summary["scenes"] < _FEW_SCENES:
            lines.append(f"{summary['scenes']} scenes are few: the intervals are too narrow, and p values too small")
    lines += [*_equal_remarks(summary), *_alignment_remarks(summary), *_window_remarks(summary)]
    if any(content.get("baseline") and content["baseline"]["kernel"] == "oracle" for content in methods.values()):
        lines.append(
            "baselines: one kernel fitted to the sharp picture, used inside the mask; no method without it can do so"
        )
    return [*lines, summary["conventions"]]


def _mask_remarks(summary: Mapping[str, Any]) -> list[str]:
    if summary["without_mask"] == summary["pairs"]:
        return ["no pair has a blur mask, so there are no weighted numbers (mask-dataset makes masks)"]
    if not summary["without_mask"] and not summary["empty_mask"]:
        return []
    left_out = f"{summary['without_mask']} pairs without a mask and {summary['empty_mask']} whose mask is empty"
    return [f"weighted numbers leave out {left_out}"]


def _equal_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Infinite values that the means leave out."""
    lines = []
    for name in ("psnr", "weighted_psnr", "outside_psnr"):
        found = {method: content["mean"][name]["equal_pictures"] for method, content in summary["methods"].items()}
        before = found.pop(BLURRED)
        if before:
            lines.append(
                f"{MEASURES[name].title} leaves out, for every method, {before} pairs whose blurred picture equals the"
                " sharp one there"
            )
        lines += [
            f"{MEASURES[name].title} leaves out {count - before} pairs that {method} made equal to the sharp picture"
            for method, count in found.items()
            if count > before
        ]
    return lines


def _alignment_remarks(summary: Mapping[str, Any]) -> list[str]:
    if not summary["settings"].get("aligned"):
        return []
    name = ALIGNED[0]
    failed = {method: content["mean"][name]["missing"] for method, content in summary["methods"].items()}
    told = ", ".join(f"{count} of {method}" for method, count in failed.items() if count)
    return [f"no alignment was found for {told or 'none'}; aligned numbers leave failures out"]


def _window_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Networks that look at the whole image and were run in windows."""
    found = {label: (content["model"] or {}).get("windows") for label, content in summary["methods"].items()}
    return [
        f"{label} looks at the whole image at once and was run in windows on {effect['pairs']} pairs; on the first of"
        f" them windows change the result by {effect['levels']:.2f} of 255 levels on average (--tile none avoids it)"
        for label, effect in found.items()
        if effect is not None
    ]


def _number(value: float | None, name: str) -> str:
    if value is None:
        return NONE
    measure = MEASURES[name]
    return f"{value:.{measure.digits}f} {measure.unit}".rstrip()


def _signed(value: float | None, name: str) -> str:
    return NONE if value is None else f"{value:+.{MEASURES[name].digits}f}"


def _interval(bounds: Sequence[float] | None, name: str) -> str:
    return "" if bounds is None else f"[{_signed(bounds[0], name)}, {_signed(bounds[1], name)}]"


def _gain(mean: float | None, bounds: Sequence[float] | None, name: str) -> str:
    return f"{_signed(mean, name)} {_interval(bounds, name)}".rstrip()


def _file_cell(content: Mapping[str, Any], name: str) -> str:
    text = _number(content["value"], name)
    if content.get("gain") is not None:
        text += f" ({_gain(content['gain'], content['interval_95_over_scenes'], name)})"
    return f"{text} *" if content.get("own") else text
