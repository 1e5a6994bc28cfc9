"""The order of samples."""

import pytest

from localblur.common.errors import LocalblurError
from localblur.training.running.sampler import Stage, StepSampler, stage_starts


def sampler(*, batch, steps, first_step=0, **share):
    return StepSampler([Stage(end=steps, batch=batch)], first_step=first_step, **share)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(LocalblurError, match="multiple of 3"):
        sampler(batch=8, steps=1, ranks=3)


def test_steps_take_consecutive_sample_numbers():
    assert list(sampler(batch=3, steps=3)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_a_resumed_run_goes_on_where_the_uninterrupted_one_was():
    whole = list(sampler(batch=4, steps=10))
    assert list(sampler(batch=4, first_step=7, steps=10)) == whole[7:]
    assert len(sampler(batch=4, first_step=7, steps=10)) == 3
    assert list(sampler(batch=4, first_step=10, steps=10)) == []


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_what_one_process_would_see(ranks):
    whole = list(sampler(batch=8, first_step=2, steps=5))
    shares = [list(sampler(batch=8, first_step=2, steps=5, rank=rank, ranks=ranks)) for rank in range(ranks)]
    joined = [sum((share[step] for share in shares), []) for step in range(3)]
    assert joined == whole


STAGES = [Stage(end=2, batch=4), Stage(end=5, batch=2)]


def test_batches_that_change_leave_no_number_out_and_take_none_twice():
    whole = list(StepSampler(STAGES))
    assert whole == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11], [12, 13]]
    assert stage_starts(STAGES) == [0, 8]
    assert list(StepSampler(STAGES, first_step=3)) == whole[3:]
    halves = [list(StepSampler(STAGES, rank=rank, ranks=2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_every_stage_must_be_shared_evenly():
    with pytest.raises(LocalblurError, match="data.batch is 2"):
        StepSampler(STAGES, ranks=4)
