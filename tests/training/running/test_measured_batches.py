"""The number of loader processes follows from the first steps, and changes nothing else."""

import logging

import pytest
import torch

from localblur.training.running.measured_batches import MEASURED, WARM_UP, measured_batches


class Machine:
    """A machine on which loading a batch and making a step take known times, and the first steps far longer."""

    def __init__(self, load_s, step_s, count=40):
        self.now, self.load_s, self.step_s, self.count = 0.0, load_s, step_s, count
        self.asked = []

    def clock(self):
        return self.now

    def load(self, skipped, workers, prefetch):
        assert (prefetch is None) == (workers == 0)
        self.asked.append((skipped, workers))
        for number in range(skipped, self.count):
            self.now += 0.0 if workers else self.load_s
            yield {"sharp": torch.full((4, 3, 2, 2), float(number))}

    def train(self, **options):
        seen = []
        for batch in measured_batches(self.load, clock=self.clock, **options):
            seen.append(int(batch["sharp"].mean()))
            self.now += 50.0 if len(seen) <= WARM_UP else self.step_s
        return seen


@pytest.mark.parametrize("count", [0, 1, WARM_UP + MEASURED - 1, WARM_UP + MEASURED, 40])
def test_every_batch_comes_once_and_in_order_however_short_the_run(count):
    machine = Machine(load_s=0.4, step_s=0.1, count=count)
    assert machine.train(cores=8) == list(range(count))


@pytest.mark.parametrize(
    ("load_s", "step_s", "ranks", "workers"),
    [
        (0.01, 1.0, 1, 0),  # loading is a hundredth of a step
        (0.1, 1.0, 1, 1),
        (0.4, 0.2, 1, 3),  # with headroom of a half
        (4.0, 0.2, 1, 7),  # all cores but one
        (4.0, 0.2, 4, 1),  # of two cores that a process has
    ],
)
def test_the_times_of_the_steps_decide(load_s, step_s, ranks, workers, caplog):
    machine = Machine(load_s, step_s)
    with caplog.at_level(logging.INFO):
        assert machine.train(cores=8, ranks=ranks) == list(range(40))
    assert machine.asked == [(0, 0), *([(WARM_UP + MEASURED, workers)] if workers else [])]
    assert len(caplog.records) == 1
    assert f"loading a batch takes {1000 * load_s:.0f} ms and a step {1000 * step_s:.0f} ms" in caplog.text


def test_one_late_step_does_not_mislead():
    machine = Machine(load_s=0.01, step_s=1.0)
    for number, _ in enumerate(measured_batches(machine.load, clock=machine.clock, cores=8)):
        machine.now += 600.0 if number == WARM_UP + 1 else 1.0
    assert machine.asked == [(0, 0)]


def test_what_goes_wrong_while_loading_is_not_hidden():
    def load(skipped, workers, prefetch):
        yield {"sharp": torch.zeros(1, 3, 2, 2)}
        raise OSError("gone")

    batches = measured_batches(load)
    next(batches)
    with pytest.raises(OSError, match="gone"):
        next(batches)
