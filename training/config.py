"""Settings of a training run, and the recipes that come with the package."""

from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.training.networks.table import network_entry
from localblur.training.objectives import ObjectiveSettings
from localblur.training.recipes import recipe_names, recipe_text


class NetworkSettings(Settings):
    """Which network, and the options in which it departs from the published one."""

    name: str = "lbag"
    options: dict[str, Any] = Field(default_factory=dict)


class OptimizerSettings(Settings):
    """Adam or AdamW.

    Attributes:
        lr: learning rate before the schedule.
        clip_norm: gradients longer than this are shortened to it; None leaves them.
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)


class ScheduleSettings(Settings):
    """The learning rate as a function of the step alone, so that a resumed run cannot differ.

    Attributes:
        kind: `multistep` multiplies by `factor` at each milestone; `cosine` falls from 1 to `final_fraction` over the
            run.
        warmup_steps: the rate first rises linearly over so many steps.
    """

    kind: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[int, ...] = ()
    factor: float = Field(default=0.5, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=0.01, ge=0, le=1)


class DataSettings(Settings):
    """What one step sees.

    Attributes:
        patch_px: side of the square patches; a multiple of 4.
        batch: patches per step, over all processes together.
        blur_aware_probability: share of patches centred on a blurred pixel.
        weights: one number per pairs file, its share of the patches; None draws every pair equally often.
    """

    patch_px: int = Field(default=256, ge=44, multiple_of=4)
    batch: int = Field(default=12, ge=1)
    blur_aware_probability: float = Field(default=0.5, ge=0, le=1)
    weights: tuple[float, ...] | None = None


class ValidationSettings(Settings):
    """Fixed patches of the `val` split, each centred on a blurred pixel where there is one.

    Attributes:
        every_steps: validate, and write the models, so often.
        samples: number of patches.
        patch_px: their side.
    """

    every_steps: int = Field(default=10_000, ge=1)
    samples: int = Field(default=64, ge=1)
    patch_px: int = Field(default=256, ge=44, multiple_of=4)


class TrainingSettings(Settings):
    """Everything that decides what a run computes, and a few things that only decide how.

    Attributes:
        steps: parameter updates of the whole run.
        ema_decay: decay per step of the averaged weights, which are then the model; 0 switches averaging off.
        precision: `auto` takes bfloat16 where the hardware multiplies it faster, else float32.
        channels_last: memory order of the tensors; `auto` takes it where it is faster: with a GPU, and with bfloat16.
        nonfinite_limit: so many steps in a row without a finite loss and gradient are skipped; then the run stops.
        checkpoint_every_steps: at most so many steps are lost when the process is killed.
        max_minutes: stop cleanly, with a checkpoint, when a call has run so long; None runs to the end.
    """

    recipe: str = "custom"
    network: NetworkSettings = NetworkSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    data: DataSettings = DataSettings()
    validation: ValidationSettings = ValidationSettings()
    steps: int = Field(default=1_000_000, ge=1)
    seed: int = Field(default=0, ge=0)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    nonfinite_limit: int = Field(default=10, ge=0)
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    log_every_steps: int = Field(default=100, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        try:
            network_entry(self.network.name).resolve(self.network.options)
        except LocalblurError as error:
            raise ValueError(f"network: {error}") from error
        if self.schedule.kind == "cosine" and self.schedule.warmup_steps >= self.steps:
            raise ValueError(
                f"schedule.warmup_steps ({self.schedule.warmup_steps}) must be smaller than steps ({self.steps})"
            )
        return self


FREE_ON_RESUME = ("max_minutes", "log_every_steps", "checkpoint_every_steps", "validation", "nonfinite_limit")
"""Settings that do not change what a step computes, and may differ when a run is resumed."""


def differences(saved: TrainingSettings, asked: TrainingSettings) -> list[str]:
    """Dotted `name: saved, now asked` of every setting in which a resumed run would differ from what was saved."""
    before, after = _flat(saved.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    return [
        f"{name} was {before.get(name)!r}, now {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and name.split(".")[0] not in FREE_ON_RESUME
    ]


def read_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe that comes with the package; an unknown name is a `LocalblurError`."""
    known = recipe_names()
    if name not in known:
        raise LocalblurError(f"unknown recipe {name!r}; known recipes: {', '.join(known)} (or pass --config FILE)")
    values: dict[str, Any] = yaml.safe_load(recipe_text(name))
    return {"recipe": name, **values}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
