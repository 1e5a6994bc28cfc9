"""The files an evaluation leaves: scores.csv, summary.json, strips, and index.html to look at them."""

import csv
import html
import io
import json
import math
from pathlib import Path
from typing import Any

from localblur.common.files import write_json, write_text
from localblur.datasets.images import write_image
from localblur.training.evaluation import MEASURES, SHOWCASE, Score, leading_measure, showcase
from localblur.training.evaluation_pictures import make_strip
from localblur.training.evaluation_run import FORMAT, Evaluation, Model, summarise
from localblur.training.inference import restore

TITLES = {"psnr": "PSNR", "ssim": "SSIM", "weighted_psnr": "weighted PSNR", "weighted_ssim": "weighted SSIM"}
DIGITS = {"psnr": 2, "ssim": 4, "weighted_psnr": 2, "weighted_ssim": 4}
UNITS = {"psnr": " dB", "ssim": "", "weighted_psnr": " dB", "weighted_ssim": ""}

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:1500px;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left}"
    "img{max-width:100%}figure{margin:1rem 0}figcaption,small{color:#555}"
)


def write_report(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Write every file of the report; index.html and the summary come last. Returns the summary.

    Strips of an earlier report in `folder` are removed: its models may have been others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise(evaluation)
    _remove_strips(folder)
    strips = [strip for model in evaluation.models for strip in _write_strips(evaluation, model, folder / "strips")]
    write_text(folder / "scores.csv", _csv_text(evaluation))
    write_text(folder / "index.html", _page(summary, strips))
    write_json(folder / "summary.json", summary)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The means of every method, and the models' gains, as aligned text."""
    rows = [["", *(TITLES[name] for name in MEASURES)]]
    for method, content in summary["methods"].items():
        rows.append([method, *(cell(content, name) for name in MEASURES)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def cell(content: dict[str, Any], name: str) -> str:
    """Mean of one measure and, for a model, its gain with the interval over scenes; "-" where there is none."""
    mean, digits = content["mean"][name]["value"], DIGITS[name]
    text = "-" if mean is None else f"{mean:.{digits}f}{UNITS[name]}"
    gain = content.get("gain", {}).get(name)
    if gain is None or gain["mean"] is None:
        return text
    interval = gain["interval_95_over_scenes"]
    bounds = "" if interval is None else f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"
    return f"{text} ({gain['mean']:+.{digits}f}{bounds})"


def remarks(summary: dict[str, Any]) -> list[str]:
    """What must be known to read the table."""
    counts = f"{summary['pairs']} pairs of {summary['scenes']} scenes; {summary['rejected']} rejected pairs left out"
    lines = [f"split {summary['settings']['split']}: {counts}"]
    if summary["without_mask"] == summary["pairs"]:
        lines.append("no pair has a blur mask, so there are no weighted numbers (mask-dataset makes masks)")
    elif summary["without_mask"] or summary["empty_mask"]:
        lines.append(
            f"weighted numbers leave out {summary['without_mask']} pairs without a mask"
            f" and {summary['empty_mask']} whose mask is empty"
        )
    if summary["methods"].keys() - {"blurred"}:
        many = summary["scenes"] > 1
        lines.append(
            "in brackets: gain over the blurred picture"
            + (", 95 % bootstrap interval, drawing scenes" if many else "; one scene gives no interval for others")
        )
    return [*lines, summary["conventions"]]


def _csv_text(evaluation: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "scene", "pair", "method", *MEASURES, "blurred_share"])
    for index in range(len(evaluation.pairs)):
        for scores in evaluation.scores.values():
            writer.writerow(_row(scores[index]))
    return text.getvalue()


def _row(score: Score) -> list[str]:
    values = [*(score.value(name) for name in MEASURES), score.blurred_share]
    return [
        *(score.data, score.scene, score.pair, score.method),
        *("" if math.isnan(value) else f"{value:.6f}" for value in values),
    ]


def _remove_strips(folder: Path) -> None:
    try:
        earlier = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # without a report of this program nothing there is known to be a strip
        return
    if isinstance(earlier, dict) and earlier.get("format") == FORMAT:
        for name in SHOWCASE:
            for strip in (folder / "strips").glob(f"*_{name}.png"):
                strip.unlink(missing_ok=True)


def _write_strips(evaluation: Evaluation, model: Model, folder: Path) -> list[tuple[str, str]]:
    """Strips of a model's best, median and worst pair; (file name, caption) of each."""
    before, after = evaluation.before, evaluation.scores[model.label]
    name = leading_measure(before)
    strips = []
    for rank, index in showcase(before, after, name).items():
        pair = evaluation.pairs[index].read()
        settings = evaluation.settings
        restored = restore(model.module, pair.blurred, tile=settings.tile, precision=settings.precision)
        file = f"{model.label.replace('/', '_')}_{rank}.png"
        write_image(folder / file, make_strip(pair, restored, before[index], after[index]))
        gain = after[index].value(name) - before[index].value(name)
        place = f"{before[index].scene}/{before[index].pair}"
        strips.append((file, f"{model.label}, {rank} of {len(before)}: {gain:+.2f} dB {TITLES[name]}, {place}"))
    return strips


def _page(summary: dict[str, Any], strips: list[tuple[str, str]]) -> str:
    def row(tag: str, texts: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"

    body = [row("th", ["", *(TITLES[name] for name in MEASURES)])]
    for method, content in summary["methods"].items():
        body.append(row("td", [method, *(cell(content, name) for name in MEASURES)]))
    figures = [
        f'<figure><img src="strips/{html.escape(file, quote=True)}" alt="{html.escape(caption, quote=True)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for file, caption in strips
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style><h1>Evaluation</h1>\n<table>{''.join(body)}</table>\n"
        + "".join(f"<p><small>{html.escape(line)}</small></p>\n" for line in remarks(summary))
        + "\n".join(figures)
        + '\n<p><a href="scores.csv">scores.csv</a>, <a href="summary.json">summary.json</a></p></html>\n'
    )
