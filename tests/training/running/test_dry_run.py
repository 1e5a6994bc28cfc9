"""A run tried out: what it tells, and what it estimates."""

import pytest
from striped_data import striped_data, tiny_settings

from localblur.training.running.dry_run import described, dry_run, duration_words
from localblur.training.runtime import Runtime


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.5 seconds"),
        (119, "119 seconds"),
        (7199, "120 minutes"),
        (112_000, "31 hours"),
        (5.4 * 86400, "5.4 days"),
        (580 * 86400, "580 days"),
        (4 * 366 * 86400, "4.0 years"),
    ],
)
def test_durations_are_said_as_a_person_would(seconds, words):
    assert duration_words(seconds) == words


def test_the_whole_run_is_estimated_from_the_pixels_of_all_stages():
    stages = [{"duration": 3, "patch_px": 48, "batch": 1}, {"duration": 1, "patch_px": 96, "batch": 1}]
    said = []
    tried = dry_run(
        tiny_settings(steps=8, data={"stages": stages}), striped_data(), runtime=Runtime("cpu"), say=said.append
    )
    assert (tried.patch_px, len(tried.losses)) == (96, 2)
    # six steps of a quarter of the pixels, and two as tried
    assert tried.whole_s == pytest.approx(tried.step_s * (6 / 4 + 2))
    assert [text.split(" (")[0] for text in said[1:3]] == ["step 1 of 2", "step 2 of 2"]
    assert any("all 8 steps: about" in line for line in described(tried))


def test_a_stage_that_a_short_run_never_reaches_is_not_tried():
    stages = [{"duration": 99, "patch_px": 48, "batch": 1}, {"duration": 1, "patch_px": 96, "batch": 1}]
    tried = dry_run(
        tiny_settings(steps=1, schedule={}, data={"stages": stages}), striped_data(), runtime=Runtime("cpu")
    )
    assert (tried.patch_px, len(tried.losses)) == (48, 1)
