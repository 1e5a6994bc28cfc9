"""The number of loader processes follows from what was measured."""

import pytest

from localblur.datasets.loading.loader_choice import choose_workers, measure_sample_ms
from localblur.datasets.patches import PatchDataset


class Clocked:
    """Samples that take 5 ms each on a clock of their own."""

    def __init__(self):
        self.now, self.seen = 0.0, []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.seen.append(index)
        self.now += 0.005

    def clock(self):
        return self.now


@pytest.mark.parametrize(("budget_s", "count"), [(0.001, 8), (0.1, 20)])
def test_the_mean_time_of_samples_is_measured_within_the_budget(budget_s, count):
    samples = Clocked()
    assert measure_sample_ms(samples, budget_s=budget_s, clock=samples.clock) == pytest.approx(5)
    assert len(samples.seen) in (4 + count, 5 + count)
    assert min(samples.seen) >= len(samples)


@pytest.mark.parametrize(
    ("sample_ms", "batch", "step_ms", "cores", "workers"),
    [
        (1, 10, 1000, 8, 0),  # loading is a hundredth of a step
        (10, 10, 1000, 8, 1),
        (10, 12, 60, 8, 3),  # 120 ms of loading every 60 ms, with headroom
        (10, 100, 60, 8, 7),  # more than there are cores
        (10, 12, 60, 1, 1),
        (10, 12, 0, 8, 7),
    ],
)
def test_workers_keep_up_with_the_steps_and_leave_a_core(sample_ms, batch, step_ms, cores, workers):
    choice = choose_workers(sample_ms, batch, step_ms, cores=cores)
    assert choice.workers == workers
    assert (choice.prefetch is None) == (workers == 0)


def test_measuring_does_not_change_what_is_sampled(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair(name=f"{n}", size=(16, 16)) for n in range(5)]})
    measured, untouched = (PatchDataset([path], patch_px=8, seed=1) for _ in range(2))
    assert measure_sample_ms(measured, budget_s=0.01) > 0
    for index in range(10):
        assert measured[index]["sharp"].equal(untouched[index]["sharp"])
