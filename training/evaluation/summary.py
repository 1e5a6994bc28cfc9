"""The summary of an evaluation: means, gains, tests, and everything needed to repeat them, as plain JSON values."""

import itertools
import math
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from localblur.training.evaluation.comparison import Comparison, Gain, compare, paired_gain
from localblur.training.evaluation.cross_dataset import cross_table
from localblur.training.evaluation.detection_agreement import rates
from localblur.training.evaluation.measures import CONVENTIONS, HEADLINE, MEASURES
from localblur.training.evaluation.methods import Baseline, Model, weights_sha256
from localblur.training.evaluation.run import Evaluation
from localblur.training.evaluation.scoring import BLURRED, Mean, comparable_mean, finite_mean, leading_measure
from localblur.training.evaluation.window_effect import window_effect

FORMAT = "localblur-evaluation"
SCHEMA_VERSION = 2


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Means, gains, comparisons of any two methods, detector's rates, and the table of files."""
    before = evaluation.before
    leading = leading_measure(before)
    models = [method for method in evaluation.methods if isinstance(method, Model)]
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in ("localblur", "torch", "opencv-contrib-python")},
        "conventions": CONVENTIONS,
        "settings": evaluation.settings.model_dump(mode="json"),
        "data": sorted({str(pair.file.path) for pair in evaluation.pairs}),
        "pairs": len(before),
        "scenes": len({(pair.data, pair.scene) for pair in evaluation.pairs}),
        "rejected": evaluation.rejected,
        "without_mask": sum(math.isnan(score.blurred_share) for score in before),
        "empty_mask": sum(score.blurred_share == 0 for score in before),
        "estimated_blur_lengths": sum(score.blur_estimated and math.isfinite(score.blur_px) for score in before),
        "leading_measure": leading,
        "reference": {name: _plain_mean(finite_mean(values)) for name, values in evaluation.reference.items()},
        "methods": {method: _summarise_method(evaluation, method) for method in evaluation.scores},
        "comparisons": _comparisons(evaluation),
        "detection": _detection(evaluation),
        "files": cross_table(models, evaluation.scores, BLURRED, leading, evaluation.settings.seed),
    }


def _summarise_method(evaluation: Evaluation, label: str) -> dict[str, Any]:
    scores, before, seed = evaluation.scores[label], evaluation.before, evaluation.settings.seed
    method = next((method for method in evaluation.methods if method.label == label), None)
    summary: dict[str, Any] = {
        "model": _describe(method, evaluation) if isinstance(method, Model) else None,
        "baseline": method.settings.model_dump(mode="json") if isinstance(method, Baseline) else None,
        "mean": {name: _plain_mean(comparable_mean(before, scores, name)) for name in MEASURES},
    }
    if method is not None:
        summary["gain"] = {name: _plain_gain(paired_gain(before, scores, name, seed)) for name in MEASURES}
    return summary


def _describe(model: Model, evaluation: Evaluation) -> dict[str, Any]:
    effect = window_effect(model, evaluation.pairs)
    return {
        "path": str(model.path),
        "network": model.card.network,
        "parameters": model.card.parameters,
        "weights_sha256": weights_sha256(model.module),
        "trained_on": model.card.data_fingerprint,
        "trained_on_files": list(model.trained_on),
        "recipe": model.card.recipe.get("recipe"),
        "windows": None if effect is None else asdict(effect),
        "skipping": model.skipping.model_dump(mode="json") if model.selective else None,
    }


def _comparisons(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Every two methods that are not the blurred picture."""
    labels = [method.label for method in evaluation.methods]
    return [
        {
            "first": first,
            "second": second,
            "measures": {
                name: _plain_comparison(
                    compare(evaluation.scores[first], evaluation.scores[second], name, evaluation.settings.seed)
                )
                for name in HEADLINE
            },
        }
        for first, second in itertools.combinations(labels, 2)
    ]


def _detection(evaluation: Evaluation) -> dict[str, Any]:
    scenes = [(pair.data, pair.scene) for pair in evaluation.pairs]
    return {
        method: asdict(rates(agreements, scenes, evaluation.settings.seed))
        for method, agreements in evaluation.agreements.items()
    }


def _plain_mean(mean: Mean) -> dict[str, Any]:
    return {"value": mean.value, "pairs": mean.count, "equal_pictures": mean.infinite, "missing": mean.missing}


def _plain_gain(gain: Gain) -> dict[str, Any]:
    return {
        "mean": gain.mean,
        "pairs": gain.count,
        "scenes": gain.scenes,
        "interval_95_over_scenes": gain.over_scenes,
        "interval_95_over_pairs": gain.over_pairs,
    }


def _plain_comparison(found: Comparison) -> dict[str, Any]:
    return {
        "difference": found.mean,
        "interval_95_over_scenes": found.interval,
        "p_bootstrap": found.p_bootstrap,
        "p_wilcoxon": found.p_wilcoxon,
        "scenes_higher_lower_equal": [found.higher, found.lower, found.equal],
        "pairs": found.pairs,
    }
