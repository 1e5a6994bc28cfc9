"""The files an evaluation leaves: scores.csv, summary.json, strips, curves.png, and index.html to look at it all."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from localblur.common.files import atomic_path, write_json, write_text
from localblur.datasets.images import write_image
from localblur.training.evaluation.curves import draw_curves
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.methods import Method
from localblur.training.evaluation.page import PageStrip, make_page
from localblur.training.evaluation.pictures import as_jpeg, make_strip
from localblur.training.evaluation.run import Evaluation
from localblur.training.evaluation.scoring import Score, leading_measure, showcase
from localblur.training.evaluation.summary import FORMAT, summarise
from localblur.training.evaluation.tables import (
    as_text,
    comparison_table,
    detection_table,
    file_table,
    further_table,
    headline_table,
    remarks,
)

__all__ = ["remarks", "report_text", "table", "write_report"]

CURVES_NAME = "curves.png"
_LISTED_STRIPS = "strips"


def write_report(evaluation: Evaluation, folder: Path, pictures: int = 3) -> dict[str, Any]:
    """Write every file of the report; index.html and the summary come last. Returns the summary.

    Strips and curves of an earlier report in `folder` are removed: its methods may have been others.

    Args:
        evaluation: what was measured.
        folder: created if needed.
        pictures: how many of the best and as many of the worst pairs are shown for every method.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise(evaluation)
    _remove_pictures(folder)
    strips = [
        strip
        for method in evaluation.methods
        for strip in _write_strips(evaluation, method, folder / "strips", pictures)
    ]
    summary[_LISTED_STRIPS] = [name for name, _ in strips]
    curves = draw_curves(evaluation.scores, summary["leading_measure"], evaluation.settings.seed)
    if curves is not None:
        with atomic_path(folder / CURVES_NAME) as temporary:
            temporary.write_bytes(curves)
    write_text(folder / "scores.csv", _csv_text(evaluation))
    write_text(folder / "index.html", make_page(summary, [strip for _, strip in strips], curves))
    write_json(folder / "summary.json", summary)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The means of every method, and the gains over the blurred picture, as aligned text."""
    return as_text(headline_table(summary))


def report_text(summary: dict[str, Any]) -> str:
    """All tables that have content, and what must be known to read them."""
    tables = [headline_table(summary), further_table(summary)]
    if summary["comparisons"]:
        tables.append(comparison_table(summary))
    if len(summary["files"][0]["tested_on"]) > 1:
        tables.append(file_table(summary))
    if summary["detection"]:
        tables.append(detection_table(summary))
    return "\n\n".join([*(as_text(rows) for rows in tables), "\n".join(remarks(summary))])


def _csv_text(evaluation: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = ["detected_in_both", "detected_only_here", "detected_only_in_sharp"] if evaluation.agreements else []
    writer.writerow(["data", "scene", "pair", "method", *MEASURES, "blurred_share", "blur_px", "blur_from", *counts])
    for index in range(len(evaluation.pairs)):
        for method, scores in evaluation.scores.items():
            row = _row(scores[index])
            if evaluation.agreements:
                found = evaluation.agreements[method][index]
                row += [str(found.both), str(found.only_here), str(found.only_sharp)]
            writer.writerow(row)
    return text.getvalue()


def _row(score: Score) -> list[str]:
    values = [*(score.value(name) for name in MEASURES), score.blurred_share, score.blur_px]
    origin = "" if math.isnan(score.blur_px) else "estimated" if score.blur_estimated else "recorded"
    return [
        *(score.data, score.scene, score.pair, score.method),
        *("" if math.isnan(value) else f"{value:.6f}" for value in values),
        origin,
    ]


def _remove_pictures(folder: Path) -> None:
    try:
        earlier = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # without a report of this program nothing there is known to be of one
        return
    if not isinstance(earlier, dict) or earlier.get("format") != FORMAT:
        return
    for name in earlier.get(_LISTED_STRIPS, []):
        (folder / "strips" / Path(str(name)).name).unlink(missing_ok=True)
    (folder / CURVES_NAME).unlink(missing_ok=True)


def _write_strips(evaluation: Evaluation, method: Method, folder: Path, pictures: int) -> list[tuple[str, PageStrip]]:
    """Strips of a method's best, median and worst pairs, with their file names."""
    before, after = evaluation.before, evaluation.scores[method.label]
    name = leading_measure(before)
    strips = []
    for rank, index in showcase(before, after, name, pictures).items() if pictures else ():
        pair = evaluation.pairs[index].read()
        drawn = make_strip(pair, method.restore(pair).image, before[index], after[index], method.label)
        file = f"{method.label.replace('/', '_')}_{rank}.png"
        write_image(folder / file, drawn)
        gain = after[index].value(name) - before[index].value(name)
        place = f"{before[index].data}, {before[index].scene}/{before[index].pair}"
        caption = f"{rank} of {len(before)}: {gain:+.2f} dB {MEASURES[name].title}, {place}"
        strips.append((file, PageStrip(method=method.label, rank=rank, caption=caption, jpeg=as_jpeg(drawn))))
    return strips
