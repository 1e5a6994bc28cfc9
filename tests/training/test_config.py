"""Training settings and recipes."""

import pytest

from localblur.common.errors import LocalblurError
from localblur.common.settings import load_settings
from localblur.training.config import TrainingSettings, differences, read_recipe
from localblur.training.optimization import learning_rate
from localblur.training.recipes import recipe_names


def resolve(recipe, *overrides):
    return load_settings(TrainingSettings, overrides=overrides, values=read_recipe(recipe))


def test_all_problems_of_a_config_come_at_once_with_their_names():
    overrides = ("optimizer.lr=-1", "data.patch_px=50", "optimiser.name=adam", "schedule.kind=step")
    with pytest.raises(LocalblurError) as caught:
        resolve("lbag", *overrides)
    for name in ("optimizer.lr", "data.patch_px", "optimiser", "schedule.kind"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.name=lbga", "known networks"),
        ("network.options.widht=3", "widht"),
        ("data.patch_px=32", "greater than or equal to 44"),
        ("steps=0", "steps"),
        ("precision=fp16", "precision"),
    ],
)
def test_wrong_values_are_named(override, message):
    with pytest.raises(LocalblurError, match=message):
        resolve("lbag", override)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(LocalblurError, match="warmup_steps"):
        resolve("lbag-small", "steps=5")


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(LocalblurError, match="lbag, lbag-small"):
        read_recipe("lbag-medium")


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipes_resolve_and_carry_their_name(recipe):
    settings = resolve(recipe)
    assert (settings.recipe, settings.network.name) == (recipe, recipe)
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_the_published_recipe():
    settings = resolve("lbag")
    assert (settings.steps, settings.data.batch, settings.data.patch_px) == (1_000_000, 12, 256)
    assert settings.data.blur_aware_probability == 0.5
    objective = settings.objective
    assert (objective.l1_weight, objective.ssim_weight, objective.fft_weight, objective.gate_weight) == (1, 1, 0.1, 0.1)
    assert objective.shift_invariant
    rates = {0: 1e-4, 99_999: 1e-4, 100_000: 5e-5, 250_000: 2.5e-5, 600_000: 1.5625e-6, 999_999: 1.5625e-6}
    for step, rate in rates.items():
        assert learning_rate(settings, step) == pytest.approx(rate)


def test_the_cosine_schedule_warms_up_and_falls_to_its_final_fraction():
    settings = resolve(
        "lbag-small", "steps=100", "optimizer.lr=1.0", "schedule.warmup_steps=9", "schedule.final_fraction=0.1"
    )
    rates = [learning_rate(settings, step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert all(later <= earlier for earlier, later in zip(rates[9:], rates[10:], strict=False))
    assert rates[100] == pytest.approx(0.1)


def test_differences_name_what_a_resumed_run_would_compute_differently():
    saved = resolve("lbag-small")
    assert differences(saved, resolve("lbag-small", "max_minutes=3", "log_every_steps=1", "validation.samples=3")) == []
    changed = differences(saved, resolve("lbag-small", "optimizer.lr=0.5", "network.options.width=8"))
    assert len(changed) == 2
    assert "network.options.width was None, now 8" in changed
