"""Trained on A, tested on B: which model carries over to which data.

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023 (networks trained on synthetic and on real
pairs, tested on both).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localblur.datasets.store import PairsFile
from localblur.training.evaluation.comparison import paired_gain
from localblur.training.evaluation.methods import Model
from localblur.training.evaluation.scoring import Score, comparable_mean
from localblur.training.running.data import fingerprint
from localblur.training.running.run_folder import RUN_NAME


def trained_on(path: Path, data_fingerprint: str, files: Mapping[str, PairsFile]) -> tuple[str, ...]:
    """Names of the pairs files a model was trained on.

    By the fingerprint in its card if it is that of one of `files`, else as its run folder recorded them; empty where
    neither tells.
    """
    for label, file in files.items():
        if data_fingerprint and fingerprint([file]) == data_fingerprint:
            return (label,)
    known = {file.path.resolve(): label for label, file in files.items()}
    for folder in (path, path.parent):
        try:
            content = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a model that was moved out of its run, or comes from elsewhere
            continue
        if isinstance(content, dict) and content.get("data_fingerprint") == data_fingerprint:
            recorded = [Path(str(name)) for name in content.get("data", [])]
            return tuple(known.get(name.resolve(), name.name) for name in recorded)
    return ()


def cross_table(
    models: Sequence[Model], scores: Mapping[str, Sequence[Score]], blurred: str, measure: str, seed: int
) -> list[dict[str, Any]]:
    """One row a model: what it was trained on, and its mean and gain on every file.

    Returns:
        Rows with `method`, `trained_on` (names) and `tested_on`: by file, `value` (mean), `pairs`, `gain`,
        `interval_95_over_scenes`, and `own`: whether the model was trained on that file. The first row is that of the
        blurred pictures.
    """
    labels = list(dict.fromkeys(score.data for score in scores[blurred]))
    rows: list[dict[str, Any]] = [
        {
            "method": blurred,
            "trained_on": [],
            "tested_on": {label: _cell(scores[blurred], None, label, measure, seed) for label in labels},
        }
    ]
    for model in models:
        tested = {}
        for label in labels:
            cell = _cell(scores[blurred], scores[model.label], label, measure, seed)
            tested[label] = {**cell, "own": label in model.trained_on}
        rows.append({"method": model.label, "trained_on": list(model.trained_on), "tested_on": tested})
    return rows


def _cell(
    blurred: Sequence[Score], restored: Sequence[Score] | None, label: str, measure: str, seed: int
) -> dict[str, Any]:
    before = [score for score in blurred if score.data == label]
    after = before if restored is None else [score for score in restored if score.data == label]
    mean = comparable_mean(before, after, measure)
    cell: dict[str, Any] = {"value": mean.value, "pairs": mean.count}
    if restored is not None:
        gain = paired_gain(before, after, measure, seed)
        cell |= {"gain": gain.mean, "interval_95_over_scenes": gain.over_scenes}
    return cell
