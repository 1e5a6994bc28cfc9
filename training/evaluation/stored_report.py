"""A report of `evaluate-deblur` read back from its folder."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.scoring import BLURRED, Score
from localblur.training.evaluation.summary import FORMAT


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of `evaluate-deblur` about one model.

    Attributes:
        summary: the content of summary.json.
        label: the model's name there.
        scores: the pairs' numbers, of the blurred pictures and of the model.
    """

    summary: Mapping[str, Any]
    label: str
    scores: Mapping[str, Sequence[Score]]

    @property
    def leading(self) -> str:
        """The number pictures are ranked by."""
        return str(self.summary["leading_measure"])


def read_report(folder: Path, weights_sha256: str) -> Report:
    """Read what `evaluate-deblur` wrote about the model with these weights.

    Raises:
        LocalblurError: if the folder holds no report, or one of other models only.
    """
    summary = read_json(folder / "summary.json")
    if not isinstance(summary, dict) or summary.get("format") != FORMAT:
        raise LocalblurError(f"{folder} holds no report of evaluate-deblur; give the folder of its --output")
    models = {label: content["model"] for label, content in summary["methods"].items() if content["model"]}
    label = next((label for label, model in models.items() if model["weights_sha256"] == weights_sha256), None)
    if label is None:
        raise LocalblurError(
            f"{folder} tells of {', '.join(models) or 'no model'}, and none has the weights of this one;"
            " evaluate this model"
        )
    return Report(summary=summary, label=label, scores=_read_scores(folder / "scores.csv", (BLURRED, label)))


def _read_scores(path: Path, methods: Sequence[str]) -> dict[str, list[Score]]:
    """The rows of these methods, in their order; numbers that were left empty are NaN."""
    found: dict[str, list[Score]] = {method: [] for method in methods}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["method"] in found:
                    found[row["method"]].append(_score(row))
    except (OSError, KeyError, ValueError) as error:
        raise LocalblurError(f"cannot read {path} ({type(error).__name__}: {error}); evaluate again") from error
    return found


def _score(row: Mapping[str, str]) -> Score:
    return Score(
        data=row["data"],
        scene=row["scene"],
        pair=row["pair"],
        method=row["method"],
        values={name: _number(row[name]) for name in MEASURES},
        blurred_share=_number(row["blurred_share"]),
        blur_px=_number(row["blur_px"]),
        blur_estimated=row["blur_from"] == "estimated",
    )


def _number(text: str) -> float:
    return float(text) if text else math.nan
