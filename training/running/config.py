"""Settings of a training run, and the recipes that come with the package."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import Field, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from localblur.common.errors import LocalblurError
from localblur.common.settings import AtLeast0, Settings
from localblur.training.networks.table import NETWORKS
from localblur.training.objectives.objective_settings import ObjectiveSettings
from localblur.training.recipes import recipe_names, recipe_text
from localblur.training.running.data_settings import DataSettings

SMALLEST_CRITIC_PX = {"deepdeblur": 256, "patch": 32}
"""Side of the smallest picture each critic can score."""


Place = tuple[str | int, ...]
Problem = tuple[Place, str, Any]
"""Where in the settings, what is wrong, and the value."""


def _problems(error: ValidationError) -> list[Problem]:
    return [(item["loc"], item["msg"], item["input"]) for item in error.errors()]


def _as_error(title: str, problems: Sequence[Problem]) -> ValidationError:
    # braces in a message would be taken for places to fill in
    lines = [
        InitErrorDetails(type=PydanticCustomError("setting", text), loc=place, input=value)
        for place, text, value in problems
    ]
    return ValidationError.from_exception_data(title, lines)


class NetworkSettings(Settings):
    """Which network, and its options; those not given are the published network's.

    All are kept, as plain values: a run must not change when a default does.
    """

    name: str = "lbag"
    options: dict[str, Any] = Field(default_factory=dict, validate_default=True)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; known networks: {', '.join(NETWORKS)}")
        return name

    @field_validator("options")
    @classmethod
    def _options_of_the_network(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" not in info.data:
            return options
        name = info.data["name"]
        try:
            return NETWORKS[name].options.model_validate(options).model_dump(mode="json")
        except ValidationError as error:
            # resuming with another network shows options that nobody gave
            problems = [(place, f"{text} in the network {name}", value) for place, text, value in _problems(error)]
            raise _as_error(name, problems) from error  # reported under `options.`


Beta = Annotated[float, Field(ge=0, lt=1)]


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
    betas: tuple[Beta, Beta] = (0.9, 0.999)
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
    milestones: tuple[AtLeast0, ...] = ()
    factor: float = Field(default=0.5, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    constant_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=0.01, ge=0, le=1)


class ValidationSettings(Settings):
    """Fixed patches of the `val` split, each centred on a blurred pixel where there is one.

    Attributes:
        held_out: where the data have no `val` split (ReLoBlur, GoPro), this share of the training scenes, one at least,
            is kept from training and validated on instead; 0 keeps all for training. See `hold_out`.
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

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, build: ModelWrapValidatorHandler["TrainingSettings"]) -> "TrainingSettings":
        wrong: list[Problem] = []
        try:
            settings = build(values)
        except ValidationError as error:
            if not isinstance(values, Mapping):
                raise
            wrong = _problems(error)
            settings = build(_without(values, [place for place, _, _ in wrong]))
        problems = [*wrong, *_contradictions(settings, [place for place, _, _ in wrong])]
        if problems:
            raise _as_error("TrainingSettings", problems)
        return settings


def _without(values: Mapping[str, Any], wrong: Sequence[Place]) -> dict[str, Any]:
    """`values`, but defaults for the settings, or the settings of sections, that `wrong` lies in."""
    left = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for section, *inner in wrong:
        chosen = left.get(str(section))
        # the options of an unknown network are nobody's
        if inner and isinstance(chosen, dict) and inner[0] != "name":
            chosen.pop(str(inner[0]), None)
        else:
            left.pop(str(section), None)
    return left


def _contradictions(settings: TrainingSettings, wrong: Sequence[Place]) -> list[Problem]:
    """What single values cannot show: settings that do not go together; nothing about what is `wrong` by itself."""
    names = [".".join(map(str, place)) + "." for place in wrong]

    def sound(read: str) -> bool:
        return not any(name.startswith(f"{read}.") or f"{read}.".startswith(name) for name in names)

    return [problem for check, reads in _CHECKS.items() if all(map(sound, reads)) for problem in check(settings)]


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
    return [
        (("accumulate",), f"a batch of {stage.batch} cannot be worked off in {parts} equal parts", parts)
        for stage in settings.data.all_stages()
        if stage.batch % parts
    ]


def _patch_problems(settings: TrainingSettings) -> list[Problem]:
    name = settings.network.name
    with torch.device("meta"):  # how large patches may be can depend on the options; no weights are drawn
        network = NETWORKS[name](settings.network.options)
    multiple = 1 if network.pads_itself else network.size_multiple
    sizes: dict[Place, int] = {("validation", "patch_px"): settings.validation.patch_px}
    if settings.data.stages:
        sizes |= {("data", "stages", number, "patch_px"): s.patch_px for number, s in enumerate(settings.data.stages)}
    else:
        sizes["data", "patch_px"] = settings.data.patch_px
    return [(place, f"{name} needs a multiple of {multiple}", size) for place, size in sizes.items() if size % multiple]


def _critic_problems(settings: TrainingSettings) -> list[Problem]:
    adversarial, parts = settings.objective.adversarial, settings.accumulate
    if adversarial is None:
        return []
    problems: list[Problem] = []
    if parts > 1:
        problems.append((("accumulate",), "a critic learns from whole batches: must be 1 with an adversarial", parts))
    smallest = SMALLEST_CRITIC_PX[adversarial.critic]
    problems += [
        (("data", "patch_px"), f"the {adversarial.critic} critic needs at least {smallest}", stage.patch_px)
        for stage in settings.data.all_stages()
        if stage.patch_px < smallest
    ]
    return problems


def _objective_problems(settings: TrainingSettings) -> list[Problem]:
    chosen = settings.objective
    problems: list[Problem] = []
    if chosen.perceptual_weight and chosen.vgg_weights is None:
        text = "objective.perceptual_weight needs torchvision's file of VGG19; give it here, or pass --download"
        problems.append((("objective", "vgg_weights"), text, None))
    if not any((chosen.image_weights(), chosen.perceptual_weight, chosen.adversarial)):
        problems.append((("objective",), "no term has a weight above 0", 0))
    return problems


def _initial_problems(settings: TrainingSettings) -> list[Problem]:
    problems: list[Problem] = []
    if settings.network.name == "lbag-plus" and settings.initial_weights is None:
        text = "lbag-plus begins with the weights of MIMO-UNet+; give its authors' file here, or train lbag"
        problems.append((("initial_weights",), text, None))
    if settings.initial_weights_except and settings.initial_weights is None:
        problems.append((("initial_weights_except",), "there are no initial_weights to take anything from", None))
    return problems


_CHECKS: dict[Callable[[TrainingSettings], list[Problem]], tuple[str, ...]] = {
    _schedule_problems: ("schedule", "steps"),
    _batch_problems: ("accumulate", "data.batch", "data.stages"),
    _patch_problems: ("network", "data.patch_px", "data.stages", "validation.patch_px"),
    _critic_problems: ("accumulate", "objective.adversarial", "data.patch_px", "data.stages"),
    _objective_problems: ("objective",),
    _initial_problems: ("network.name", "initial_weights", "initial_weights_except"),
}
"""What finds contradictions, and the settings it reads."""


FREE_ON_RESUME = (
    *("max_minutes", "log_every_steps", "checkpoint_every_steps", "nonfinite_limit", "wandb_project"),
    *("validation.every_steps", "validation.pictures", "initial_weights", "initial_weights_except"),
    *("objective.vgg_weights", "accumulate"),
)
"""Settings that do not change what a resumed run computes, and may differ when it is.

VGG's file is the same wherever it lies. Another `accumulate` computes the same up to rounding where no batch norm or
dropout sees the parts; a run for which memory has become too small would otherwise be lost.
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
