"""Settings of a training run, and the recipes that come with the package."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.training.networks.table import NETWORKS
from localblur.training.objectives.objective_settings import ObjectiveSettings
from localblur.training.recipes import recipe_names, recipe_text
from localblur.training.running.data_settings import DataSettings

SMALLEST_CRITIC_PX = {"deepdeblur": 256, "patch": 32}
"""Side of the smallest picture each critic can score."""


class NetworkSettings(Settings):
    """Which network, and the options in which it departs from the published one."""

    name: str = "lbag"
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; known networks: {', '.join(NETWORKS)}")
        return name

    @field_validator("options")
    @classmethod
    def _options_of_the_network(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" in info.data:
            NETWORKS[info.data["name"]].options.model_validate(options)  # its errors are reported under `options.`
        return options


class OptimizerSettings(Settings):
    """Adam, AdamW or Muon.

    Attributes:
        name: `muon` moves matrices along orthogonalised momentum and the rest as `adamw` does, at the same `lr`; it
            learns more per step, each of which takes longer.
        lr: learning rate before the schedule.
        clip_norm: gradients longer than this are shortened to it; None leaves them.
    """

    name: Literal["adam", "adamw", "muon"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)


class ScheduleSettings(Settings):
    """The learning rate as a function of the step alone, so that a resumed run cannot differ.

    Attributes:
        kind: `multistep` multiplies by `factor` at each milestone; `cosine` and `linear` fall from 1 to
            `final_fraction` over what is left of the run after `warmup_steps` and `constant_steps`.
        warmup_steps: the rate first rises linearly over so many steps.
        constant_steps: then it stays for so many.
    """

    kind: Literal["multistep", "cosine", "linear"] = "multistep"
    milestones: tuple[int, ...] = ()
    factor: float = Field(default=0.5, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    constant_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=0.01, ge=0, le=1)


class ValidationSettings(Settings):
    """Fixed patches of the `val` split, each centred on a blurred pixel where there is one.

    Attributes:
        held_out: where the data have no `val` split (ReLoBlur, GoPro), this share of the training scenes, one at least,
            is kept from training and validated on instead; 0 keeps all for training. Which depends on names alone.
        every_steps: validate, and write the models, so often.
        samples: number of patches.
        patch_px: their side.
        pictures: so many of them are shown in the log: blurred, restored, gate, sharp.
    """

    held_out: float = Field(default=0.05, ge=0, lt=1)
    every_steps: int = Field(default=10_000, ge=1)
    samples: int = Field(default=64, ge=1)
    patch_px: int = Field(default=256, ge=44, multiple_of=4)
    pictures: int = Field(default=4, ge=0)


class TrainingSettings(Settings):
    """Everything that decides what a run computes, and a few things that only decide how.

    Attributes:
        steps: parameter updates of the whole run.
        initial_weights: what a new run begins with instead of random weights: a published file, a model folder, or
            `model-in-the-box`, what comes with the package. LBAG takes those of MIMO-UNet+ too (the paper's LBAG+). Not
            needed to resume.
        initial_weights_except: names, or patterns such as `heads.*`, of weights that begin at random all the same; any
            other that the file lacks, has too many of, or has in another shape, is an error.
        ema_decay: decay per step of the averaged weights, which are then the model; 0 switches averaging off.
        accumulate: a step's batch is worked off in so many parts, one after another, to take less memory.
        precision: `auto` takes bfloat16 where the hardware multiplies it faster, else float32. `fp16` scales the loss.
        channels_last: memory order of the tensors; `auto` takes it where it is faster: with a GPU, and with bfloat16.
        compile: let torch.compile fuse the network; takes minutes at the beginning.
        nonfinite_limit: so many steps in a row without a finite loss and gradient are skipped; then the run stops.
        checkpoint_every_steps: at most so many steps are lost when the process is killed.
        wandb_project: also log to Weights & Biases, which must be installed.
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
    initial_weights: Path | None = None
    initial_weights_except: tuple[str, ...] = ()
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    nonfinite_limit: int = Field(default=10, ge=0)
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    log_every_steps: int = Field(default=100, ge=1)
    wandb_project: str | None = None
    max_minutes: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        problems = _contradictions(self)
        if problems:
            raise ValidationError.from_exception_data(
                "TrainingSettings",
                [
                    # braces in a message would be taken for places to fill in
                    InitErrorDetails(type=PydanticCustomError("contradiction", text), loc=path, input=value)
                    for path, text, value in problems
                ],
            )
        return self


Problem = tuple[tuple[str | int, ...], str, Any]
"""Where in the settings, what is wrong, and the value."""


def _contradictions(settings: TrainingSettings) -> list[Problem]:
    """What single values cannot show: settings that do not go together."""
    return [*_schedule_problems(settings), *_batch_problems(settings), *_objective_problems(settings)]


def _schedule_problems(settings: TrainingSettings) -> list[Problem]:
    schedule = settings.schedule
    before = schedule.warmup_steps + schedule.constant_steps
    if schedule.kind == "multistep" or before < settings.steps:
        return []
    name = "constant_steps" if schedule.constant_steps else "warmup_steps"
    text = f"warmup_steps + constant_steps ({before}) must be smaller than steps ({settings.steps})"
    return [(("schedule", name), text, before)]


def _batch_problems(settings: TrainingSettings) -> list[Problem]:
    parts = settings.accumulate
    problems: list[Problem] = [
        (("accumulate",), f"a batch of {stage.batch} cannot be worked off in {parts} equal parts", parts)
        for stage in settings.data.all_stages()
        if stage.batch % parts
    ]
    if parts > 1 and settings.objective.adversarial is not None:
        problems.append((("accumulate",), "a critic learns from whole batches: must be 1 with an adversarial", parts))
    return problems


def _objective_problems(settings: TrainingSettings) -> list[Problem]:
    chosen = settings.objective
    problems: list[Problem] = []
    if chosen.perceptual_weight and chosen.vgg_weights is None:
        text = "objective.perceptual_weight needs torchvision's file of VGG19; give it here, or pass --download"
        problems.append((("objective", "vgg_weights"), text, None))
    if not any((chosen.image_weights(), chosen.perceptual_weight, chosen.adversarial)):
        problems.append((("objective",), "no term has a weight above 0", 0))
    if chosen.adversarial is not None:
        smallest = SMALLEST_CRITIC_PX[chosen.adversarial.critic]
        problems += [
            (("data", "patch_px"), f"the {chosen.adversarial.critic} critic needs at least {smallest}", stage.patch_px)
            for stage in settings.data.all_stages()
            if stage.patch_px < smallest
        ]
    if settings.network.name == "lbag-plus" and settings.initial_weights is None:
        text = "lbag-plus begins with the weights of MIMO-UNet+; give its authors' file here, or train lbag"
        problems.append((("initial_weights",), text, None))
    if settings.initial_weights_except and settings.initial_weights is None:
        problems.append((("initial_weights_except",), "there are no initial_weights to take anything from", None))
    return problems


FREE_ON_RESUME = (
    *("max_minutes", "log_every_steps", "checkpoint_every_steps", "nonfinite_limit", "wandb_project"),
    *("validation.every_steps", "validation.pictures", "initial_weights", "initial_weights_except"),
)
"""Settings that do not change what a resumed run computes, and may differ when it is.

The other ones of validation decide which scenes are trained on, and what the best model so far was judged by.
"""


def differences(saved: TrainingSettings, asked: TrainingSettings) -> list[str]:
    """Dotted `name: saved, now asked` of every setting in which a resumed run would differ from what was saved."""
    before, after = _flat(saved.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    return [
        f"{name} was {before.get(name)!r}, now {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and name not in FREE_ON_RESUME
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
