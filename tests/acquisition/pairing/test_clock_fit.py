"""The fit of one clock to another follows offset and drift, and says nothing before it knows."""

import numpy as np
import pytest

from localblur.acquisition.pairing.clock_fit import MIN_POINTS, ClockFit


def test_it_says_nothing_before_it_knows():
    fit = ClockFit()
    assert fit.deviation_ns(0, 5) is None
    assert not fit.settled


def test_a_first_estimate_is_used_until_there_are_pairs():
    fit = ClockFit(offset_ns=1000)
    assert fit.deviation_ns(10**18, 10**18 + 1500) == 500
    fit.add(10**18, 10**18 + 1500)
    assert fit.deviation_ns(10**18 + 10**9, 10**18 + 10**9 + 1500) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("drift_ppm", [-80.0, 0.0, 50.0])
def test_drift_is_found_under_jitter(rng, drift_ppm):
    fit = ClockFit()
    deviations = []
    for number in range(2000):
        true_ns = 10**18 + number * 33_000_000
        sharp_ns = true_ns + 7 * 10**15 + round((true_ns - 10**18) * drift_ppm / 1e6)
        times = true_ns + round(2e5 * rng.standard_normal()), sharp_ns + round(2e5 * rng.standard_normal())
        if fit.settled:
            deviations.append(fit.deviation_ns(*times))
        fit.add(*times)
    # what is left is the jitter of both times, 0.28 ms, and little more
    assert np.std(deviations) < 1.1 * 2e5 * np.sqrt(2)
    assert fit.drift_ppm == pytest.approx(drift_ppm, abs=20)


def test_a_window_follows_a_crystal_that_warms_up():
    fit = ClockFit()
    offset_ns = 0.0
    for number in range(20_000):
        offset_ns += 100e6 * 50e-6 * np.sin(number / 3000)
        times = number * 100_000_000, round(number * 100_000_000 + offset_ns)
        if number > MIN_POINTS:
            assert abs(fit.deviation_ns(*times)) < 2e5
        fit.add(*times)
