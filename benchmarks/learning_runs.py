"""Single runs of `learning.py`: their settings, what is measured on them, and how that is kept."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_text
from localblur.training.evaluation.methods import Model
from localblur.training.evaluation.run import EvaluationSettings, evaluate, open_files
from localblur.training.evaluation.scoring import Score
from localblur.training.published_weights import open_model
from localblur.training.running.config import read_recipe
from localblur.training.runtime import fastest_precision

RESULT_NAME = "result.json"
PERCEPTUAL_STAND_IN = 100.0


@dataclass(frozen=True, kw_only=True)
class NetworkRun:
    """What a short run on two processor cores can afford."""

    patch_px: int = 64
    batch: int = 4
    steps: int = 150


NETWORK_RUNS = {
    "lbag": NetworkRun(),
    "mimo-unet": NetworkRun(),
    "mimo-unet-plus": NetworkRun(),
    "deepdeblur-k1": NetworkRun(batch=2),
    "deepdeblur-k2": NetworkRun(batch=2),
    "deepdeblur-k3": NetworkRun(batch=2),
    "deblurgan": NetworkRun(),
    "restormer": NetworkRun(batch=2),
    "nafnet-w32": NetworkRun(batch=8),
    "nafnet-w64": NetworkRun(),
    "unet-autoencoder": NetworkRun(batch=16, steps=300),
    "tiny": NetworkRun(patch_px=128, batch=8, steps=300),
}
"""`lbag-plus` is `lbag` that begins with published weights; `lbag-small` has the experiment's other part."""


def network_values(name: str, steps: int | None) -> dict[str, Any]:
    """The recipe of `name` with the run's patches and steps; its optimiser stays, its schedule shrinks with the run."""
    recipe, run = read_recipe(name), NETWORK_RUNS[name]
    count = steps or run.steps
    schedule = dict(recipe.get("schedule", {}))
    share = count / recipe["steps"]
    if "milestones" in schedule:
        schedule["milestones"] = [round(share * step) for step in schedule["milestones"]]
    for part in ("warmup_steps", "constant_steps"):
        if part in schedule:
            schedule[part] = int(share * schedule[part])
    values: dict[str, Any] = {
        "steps": count,
        "schedule": schedule,
        "data": {"patch_px": run.patch_px, "batch": run.batch, "stages": []},
        "validation": {"patch_px": run.patch_px, "samples": 32, "every_steps": max(1, count // 5)},
        "checkpoint_every_steps": max(1, count // 10),
        "log_every_steps": max(1, count // 20),
    }
    if recipe.get("objective", {}).get("perceptual_weight"):  # VGG19's weights are not at hand
        values["objective"] = {"perceptual_weight": 0.0, "mse_weight": PERCEPTUAL_STAND_IN}
    return values


def as_overrides(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`a.b=value` for every value of nested mappings, as `--set` takes them (JSON is YAML)."""
    texts: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            texts += as_overrides(value, f"{prefix}{name}.")
        else:
            texts.append(f"{prefix}{name}={json.dumps(value)}")
    return texts


def test_scores(test: Path, model: Path, label: str, seed: int) -> dict[str, Sequence[Score]]:
    """Scores of the blurred pictures and of a model on the test's pairs."""
    module, card = open_model(model)
    settings = EvaluationSettings(precision=fastest_precision(torch.device("cpu")), seed=seed)
    with ExitStack() as stack:
        files = open_files([test], stack)
        method = Model(label=label, path=model, module=module, card=card, precision=settings.precision)
        return dict(evaluate(files, [method], settings).scores)


def write_result(
    place: Path, request: Mapping[str, Any], facts: Mapping[str, Any], scores: Mapping[str, Sequence[Score]]
) -> None:
    """Keep what a finished run was asked for and what came out; NaN and infinity are kept as such."""
    plain = {label: [asdict(score) for score in values] for label, values in scores.items()}
    write_text(place / RESULT_NAME, json.dumps({"request": request, **facts, "scores": plain}, indent=1) + "\n")


def read_result(place: Path) -> dict[str, Any]:
    """What `write_result` kept; scores are `Score` again."""
    result: dict[str, Any] = read_json(place / RESULT_NAME)
    result["scores"] = {label: [Score(**values) for values in plain] for label, plain in result["scores"].items()}
    return result


def refuse_other_request(place: Path, request: Mapping[str, Any]) -> bool:
    """Whether a run is finished; one that was asked for something else is a `LocalblurError`."""
    if not (place / RESULT_NAME).is_file():
        return False
    before = read_result(place)["request"]
    if before != dict(request):
        differing = [name for name in request if before.get(name) != request[name]]
        changed = ", ".join(f"{name} was {before.get(name)}, now {request[name]}" for name in differing)
        raise LocalblurError(f"{place} was made otherwise ({changed}); choose another --work or remove that folder")
    return True
