"""A model card: what a model is, what it was trained on, what was measured of it, and where it fails.

Every number is taken from a file: the model's own description, the pairs files, and the reports of `evaluate-deblur`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from localblur.training.checkpoint import ModelCard
from localblur.training.evaluation.curves import Bin, area_percent, binned, gains, length_px
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.scoring import BLURRED
from localblur.training.evaluation.stored_report import Report
from localblur.training.evaluation.tables import Rows, cell
from localblur.training.published_weights import origin

HEAD = ("psnr", "ssim", "weighted_psnr", "weighted_ssim", "outside_psnr", "outside_change", "gate_iou")
_ALWAYS = (
    (
        "It is made for objects that move in front of a still background; camera shake, defocus and compression are not"
        " what it removes."
    ),
    (
        "It cannot know what the blur destroyed: long blurs come out clearer, not sharp, and fine patterns may be"
        " wrong. Do not take text, faces or number plates in a restored picture for evidence."
    ),
    "Values are taken as sRGB-coded.",
)
"""Limits of any such model."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """A pairs file a model was trained on: its name and origin, and pairs and scenes by split."""

    name: str
    source: str
    licence: str
    creator: str
    pairs: Mapping[str, int]
    scenes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture in the card: where it lies, as the card refers to it, and what it shows."""

    link: str
    caption: str


def write_card(
    card: ModelCard,
    size_bytes: int,
    reports: Sequence[Report],
    data: Sequence[TrainingData],
    terms: str,
    pictures: Sequence[Shown] = (),
    skipping: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The card as Markdown.

    Args:
        card: the model's own description.
        size_bytes: of the file of weights.
        reports: what was measured.
        data: what it was trained on; may be empty.
        terms: under which terms its pictures may be used, Markdown; may be empty.
        pictures: to show.
        skipping: what was measured of finding blur with these weights, see `StoredSkipping`; may be empty.
    """
    made = f"made with localblur {card.versions.get('localblur', '?')} on {card.created[:10] or 'an unknown day'}"
    parts = [
        f"# {card.network}",
        f"Removes local motion blur. {card.parameters:,} parameters, {size_bytes / 1e6:.1f} MB, {made}.",
        *(_measured(report) for report in reports),
        _skipping(skipping),
        _pictures(pictures),
        _training(card),
        _data(card, data, terms),
        _limits(reports, data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured(report: Report) -> str:
    summary, methods = report.summary, report.summary["methods"]
    own, before = methods[report.label], methods[BLURRED]
    rows = [["", "blurred", "restored (gain over blurred, 95 % interval)"]]
    for name in HEAD:
        if own["mean"][name]["value"] is not None:
            rows.append([MEASURES[name].title, cell(before, name), cell(own, name)])
    names = ", ".join(Path(name).name for name in summary["data"])
    way = "only what its gate finds" if summary["settings"]["selective"] else "every pixel restored"
    told = (
        f"{summary['pairs']} pairs of {summary['scenes']} scenes, split {summary['settings']['split']},"
        f" computed in {summary['settings']['precision']}. Values: {summary['conventions']}. Intervals: bootstrap,"
        " drawing scenes."
    )
    heading = f"## Measured on {names}: {way}"
    return "\n\n".join([heading, _markdown(rows), told, _verdict(report), *_by_position(report), _extremes(report)])


def _verdict(report: Report) -> str:
    """In words what the intervals allow to say."""
    content = report.summary["methods"][report.label]["gain"]
    place = "Inside the blur" if report.leading == "weighted_psnr" else "Over the whole picture"
    lines = [f"{place} {_judged(content[report.leading])}."]
    if content["outside_psnr"]["mean"] is not None:
        lines.append(f"Outside the mask {_judged(content['outside_psnr'])}.")
    return " ".join(lines)


def _judged(gain: Mapping[str, Any]) -> str:
    bounds = gain["interval_95_over_scenes"]
    if gain["mean"] is None:
        return "no pair allows a comparison"
    amount = f"PSNR changes by {gain['mean']:+.2f} dB"
    if bounds is None:
        return f"{amount}; one scene allows no interval"
    span = f"{amount} ({bounds[0]:+.2f} to {bounds[1]:+.2f})"
    if bounds[0] > 0:
        return f"{span}: better"
    return f"{span}: worse" if bounds[1] < 0 else f"{span}: no difference can be told"


def _by_position(report: Report) -> list[str]:
    """Gains in groups of equally many pairs, by the length of the blur and by its area."""
    measure, seed = report.leading, int(report.summary["settings"]["seed"])
    gained = gains(report.scores, measure)[report.label]
    estimated = " (estimated)" if any(score.blur_estimated for score in gained) else ""
    tables = []
    for title, position in ((f"blur length{estimated}, px", length_px), ("blurred area, %", area_percent)):
        bins = binned(gained, measure, position, seed)
        if len(bins) > 1:
            rows = [[title, "pairs", f"gain, {MEASURES[measure].title}"]]
            rows += [[f"{one.position:.0f}", str(one.count), _binned_gain(one)] for one in bins]
            tables.append(_markdown(rows))
    return tables


def _binned_gain(one: Bin) -> str:
    span = "" if one.interval is None else f" [{one.interval[0]:+.2f}, {one.interval[1]:+.2f}]"
    return f"{one.mean:+.2f} dB{span}"


def _extremes(report: Report) -> str:
    gained = gains(report.scores, report.leading)[report.label]
    finite = sorted(
        (score for score in gained if math.isfinite(score.value(report.leading))), key=lambda s: s.value(report.leading)
    )
    if not finite:
        return ""
    worse = sum(score.value(report.leading) < 0 for score in finite)
    low, high = finite[0].value(report.leading), finite[-1].value(report.leading)
    return (
        f"{worse} of {len(finite)} pairs came out worse than the blurred picture. Worst {low:+.2f} dB"
        f" ({finite[0].scene}/{finite[0].pair}), best {high:+.2f} dB ({finite[-1].scene}/{finite[-1].pair})."
    )


def _skipping(found: Mapping[str, float]) -> str:
    if not {"pictures", "blurred_share", "faster", "weighted_psnr_lost_db", "sharp_kept_share"} <= found.keys():
        return ""
    return (
        "## Restoring only what is blurred\n\n"
        f"On {found['pictures']:.0f} pictures, {found['blurred_share']:.1%} of their area blurred, looking first and"
        f" restoring what was found was {found['faster']:.1f} times as fast as restoring every pixel, and lost"
        f" {found['weighted_psnr_lost_db']:.3f} dB of weighted PSNR; {found['sharp_kept_share']:.1%} of the sharp"
        " pixels came back to the bit. The settings were chosen on these pictures."
    )


def _pictures(pictures: Sequence[Shown]) -> str:
    if not pictures:
        return ""
    return "\n\n".join(["## Pictures", *(f"![{one.caption}]({one.link})\n\n{one.caption}" for one in pictures)])


def _training(card: ModelCard) -> str:
    recipe = card.recipe
    if not recipe:
        return "## Training\n\nHow this model was trained is not recorded."
    step, start = card.metrics.get("step"), recipe.get("initial_weights")
    lines = [
        f"Recipe `{recipe.get('recipe')}`, seed {recipe.get('seed')}, {recipe.get('steps')} steps"
        + ("" if step is None else f"; these are the weights of step {step:.0f}")
        + f", with torch {card.versions.get('torch', '?')}. Fingerprint of the data: `{card.data_fingerprint}`.",
        *([_averaged(card)] if card.averaged else []),
        *([f"It did not begin at random but with the weights of `{origin(start)}`."] if start else []),
        "All settings, as they were resolved:",
        f"```yaml\n{yaml.safe_dump(_without_folders(recipe), sort_keys=False)}```",
    ]
    return "\n\n".join(["## Training", *lines])


def _averaged(card: ModelCard) -> str:
    parts = " and ".join(
        f"{part.share:.0%} of `{part.name}`" + ("" if part.step is None else f" (step {part.step:.0f})")
        for part in card.averaged
    )
    return f"The weights are an average, {parts} (Wortsman et al., CVPR 2022); recipe and data are those of the last."


def _without_folders(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Settings to publish: files are named, where they lay on somebody's machine is not."""
    plain = dict(recipe)
    if plain.get("initial_weights"):
        plain["initial_weights"] = origin(plain["initial_weights"])
    if isinstance(plain.get("objective"), Mapping) and plain["objective"].get("vgg_weights"):
        plain["objective"] = plain["objective"] | {"vgg_weights": origin(plain["objective"]["vgg_weights"])}
    return plain


def _data(card: ModelCard, data: Sequence[TrainingData], terms: str) -> str:
    rows = [["file", "made by", "from", "pairs", "scenes", "licence"]]
    for one in data:
        rows.append([one.name, one.creator, one.source, _counts(one.pairs), _counts(one.scenes), one.licence])
    table = _markdown(rows) if data else "What this model was trained on is known by its fingerprint only."
    return "\n\n".join(part for part in ["## Data", table, terms.strip()] if part)


def _counts(by_split: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in by_split.items())


def _limits(reports: Sequence[Report], data: Sequence[TrainingData]) -> str:
    lengths = [score.blur_px for report in reports for score in report.scores[BLURRED] if math.isfinite(score.blur_px)]
    lines = [*_ALWAYS]
    if lengths:
        lines.append(
            f"The numbers above are of blurs of {min(lengths):.0f} to {max(lengths):.0f} px (as recorded or estimated);"
            " nothing was measured of others."
        )
    if data:
        lines.append(
            "The pairs it learned from are simulated or synthesised as the table says; what differs from them (sensors,"
            " noise, lenses, the way things move) may be restored worse than measured here."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _markdown(rows: Rows) -> str:
    lines = ["| " + " | ".join(text.replace("|", "\\|") or " " for text in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
