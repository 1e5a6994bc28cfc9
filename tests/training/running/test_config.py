"""Training settings and recipes."""

import pytest

from localblur.common.errors import LocalblurError
from localblur.common.settings import load_settings
from localblur.training.networks.lbag import LBAGOptions
from localblur.training.networks.table import NETWORKS
from localblur.training.recipes import recipe_names
from localblur.training.running.config import NetworkSettings, TrainingSettings, differences, read_recipe
from localblur.training.running.optimization import learning_rate

NEEDED = {
    "deblurgan": ("objective.vgg_weights=vgg19.pth",),
    "lbag-plus": ("initial_weights=MIMO-UNetPlus.pkl",),
}
"""What two recipes leave to the user."""


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
        ("precision=fp8", "precision"),
        ("network.options.num_res=0", r"network\.options\.num_res"),
        ("accumulate=5", r"accumulate: a batch of 12 cannot be worked off in 5"),
        ("objective.perceptual_weight=1", r"objective\.vgg_weights: .*--download"),
        ("objective={l1_weight: 0, ssim_weight: 0, fft_weight: 0}", "objective: no term has a weight"),
        ("optimizer.betas=[1.5, 0.9]", r"optimizer\.betas\.0: .*less than 1"),
        ("schedule.milestones=[-5, 2]", r"schedule\.milestones\.0"),
        ("network={name: tiny, options: {widths: [0, 1, 1, 1]}}", r"network\.options\.widths\.0"),
        ("network={name: restormer, options: {blocks: [-1, 1, 1, 1]}}", r"network\.options\.blocks\.0"),
        ("network={name: nafnet-w32, options: {encoder_blocks: [1, 1, 1, -3]}}", r"options\.encoder_blocks\.3"),
        ("network={name: restormer, options: {expansion: 0.01}}", r"network\.options\.expansion"),
        ("data.augment.turn=flip", r"data\.augment\.turn"),
        ("data.stages=[{duration: 1, patch_px: 50, batch: 1}]", r"data\.stages\.0\.patch_px"),
    ],
)
def test_wrong_values_are_named(override, message):
    with pytest.raises(LocalblurError, match=message):
        resolve("lbag", override)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(LocalblurError, match="warmup_steps"):
        resolve("lbag-small", "steps=5")


def test_contradictions_come_at_once_with_their_names():
    overrides = ("schedule.kind=cosine", "schedule.warmup_steps=2000000", "accumulate=7", "data.patch_px=128")
    with pytest.raises(LocalblurError) as caught:
        resolve("lbag", *overrides, "objective.adversarial.critic=deepdeblur")
    for name in ("schedule.warmup_steps:", "accumulate:", "data.patch_px:"):
        assert name in str(caught.value)


def test_patches_that_do_not_fit_the_network_are_all_named():
    with pytest.raises(LocalblurError) as caught:
        resolve("tiny", "data.patch_px=52", "validation.patch_px=60", "optimizer.lr=-1")
    for text in ("data.patch_px: tiny needs a multiple of 16 (got 52)", "validation.patch_px: tiny", "optimizer.lr:"):
        assert text in str(caught.value)
    stages = "data.stages=[{duration: 1, patch_px: 64, batch: 1}, {duration: 1, patch_px: 68, batch: 1}]"
    with pytest.raises(LocalblurError, match=r"data\.stages\.1\.patch_px: tiny needs a multiple of 16 \(got 68\)"):
        resolve("tiny", stages)


def test_contradictions_are_named_beside_wrong_values():
    overrides = ("optimizer.lr=-1", "data.patch_px=50", "accumulate=5", "channels_last=maybe", "network.name=lbga")
    with pytest.raises(LocalblurError) as caught:
        resolve("lbag", *overrides, "objective.perceptual_weight=1")
    for name in ("optimizer.lr:", "data.patch_px:", "accumulate:", "network.name:", "objective.vgg_weights:"):
        assert str(caught.value).count(name) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ("steps=-1", "schedule.kind=cosine", "schedule.warmup_steps=2000000"),
        ("data.batch=0", "accumulate=5"),
        ("initial_weights=3", "initial_weights_except=[heads.*]"),
        ("objective.adversarial.critic=patches", "data.patch_px=64"),
        ("data.stages=[{duration: 1, patch_px: 50, batch: 12}]", "accumulate=5"),
    ],
)
def test_nothing_is_said_to_contradict_a_value_that_is_wrong_itself(overrides):
    with pytest.raises(LocalblurError) as caught:
        resolve("lbag", *overrides)
    assert str(caught.value).count("(got ") == 1


@pytest.mark.parametrize("recipe", NEEDED)
def test_recipes_that_need_a_file_say_so(recipe):
    with pytest.raises(LocalblurError, match=NEEDED[recipe][0].split("=")[0]):
        resolve(recipe)


def test_every_network_has_a_recipe():
    assert recipe_names() == sorted([*NETWORKS, "fine-tune"])


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(LocalblurError, match="fine-tune, lbag, lbag-plus, lbag-small"):
        read_recipe("lbag-medium")


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipes_resolve_and_carry_their_name(recipe):
    settings = resolve(recipe, *NEEDED.get(recipe, ()))
    assert (settings.recipe, settings.network.name) == (recipe, "lbag-small" if recipe == "fine-tune" else recipe)
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_the_published_recipe():
    settings = resolve("lbag")
    assert (settings.steps, settings.data.batch, settings.data.patch_px) == (1_000_000, 12, 256)
    assert settings.data.blur_aware_probability == 0.5
    objective = settings.objective
    assert (objective.l1_weight, objective.ssim_weight, objective.fft_weight, objective.gate_weight) == (1, 1, 0.1, 0.1)
    assert objective.shift_invariant
    assert objective.gate_target == "nearest"
    assert settings.data.augment.turn == "mirror"
    assert settings.network.options == LBAGOptions().model_dump(mode="json")
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


def test_restormer_stays_then_falls_to_a_millionth():
    settings = resolve("restormer")
    rates = [learning_rate(settings, step) for step in (0, 91_999, 92_000, 196_000, 300_000)]
    assert rates == pytest.approx([3e-4, 3e-4, 3e-4, (3e-4 + 1e-6) / 2, 1e-6], rel=1e-4)


def test_deblurgan_stays_then_falls_in_a_line_to_nothing():
    settings = resolve("deblurgan", *NEEDED["deblurgan"])
    rates = [learning_rate(settings, step) for step in (0, 315_450, 473_175, 630_900)]
    assert rates == pytest.approx([1e-4, 1e-4, 5e-5, 0])


def test_stages_share_a_run_of_any_length():
    settings = resolve("restormer")
    assert settings.data.stage_ends(settings.steps) == [92_000, 156_000, 204_000, 240_000, 276_000, 300_000]
    assert settings.data.stage_ends(30) == [9, 16, 20, 24, 28, 30]
    assert [(stage.patch_px, stage.batch) for stage in settings.data.all_stages()][-1] == (384, 8)
    assert resolve("lbag").data.stage_ends(30) == [30]


def test_differences_name_what_a_resumed_run_would_compute_differently():
    saved = resolve("lbag-small")
    free = (
        "max_minutes=3",
        "log_every_steps=1",
        "validation.every_steps=3",
        "initial_weights=a.pkl",
        "initial_weights_except=[a]",
    )
    assert differences(saved, resolve("lbag-small", *free)) == []
    (held_out,) = differences(saved, resolve("lbag-small", "validation.held_out=0.5"))
    assert held_out == "validation.held_out was 0.05, now 0.5"
    changed = differences(saved, resolve("lbag-small", "optimizer.lr=0.5", "network.options.width=8"))
    assert len(changed) == 2
    assert "network.options.width was 32, now 8" in changed


def test_network_options_are_stored_in_full_and_those_left_out_before_are_the_defaults():
    saved = resolve("nafnet-w32", "network.options.width=8").model_dump(mode="json")
    assert saved["network"]["options"]["train_patch_px"] == 256
    assert NetworkSettings(name="nafnet-w32").options["width"] == TrainingSettings().network.options["width"] == 32
    asked = resolve("nafnet-w32", "network.options.width=8")
    saved["network"]["options"] = {"width": 8}
    assert differences(TrainingSettings.model_validate(saved), asked) == []


def test_a_resumed_run_may_find_vgg_elsewhere():
    saved, asked = (resolve("deblurgan", f"objective.vgg_weights={folder}/vgg19.pth") for folder in ("here", "there"))
    assert differences(saved, asked) == []


def test_weights_to_leave_out_need_weights_to_leave_them_out_of():
    with pytest.raises(LocalblurError, match="initial_weights_except: there are no initial_weights"):
        resolve("lbag-small", "initial_weights_except=[heads.*]")
