"""The order of samples."""

import pytest

from localblur.common.errors import LocalblurError
from localblur.training.sampler import StepSampler


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(LocalblurError, match="multiple of 3"):
        StepSampler(batch=8, first_step=0, steps=1, rank=0, ranks=3)


def test_steps_take_consecutive_sample_numbers():
    assert list(StepSampler(batch=3, first_step=0, steps=3)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_a_resumed_run_goes_on_where_the_uninterrupted_one_was():
    whole = list(StepSampler(batch=4, first_step=0, steps=10))
    assert list(StepSampler(batch=4, first_step=7, steps=10)) == whole[7:]
    assert len(StepSampler(batch=4, first_step=7, steps=10)) == 3
    assert list(StepSampler(batch=4, first_step=10, steps=10)) == []


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_what_one_process_would_see(ranks):
    whole = list(StepSampler(batch=8, first_step=2, steps=5))
    shares = [list(StepSampler(batch=8, first_step=2, steps=5, rank=rank, ranks=ranks)) for rank in range(ranks)]
    joined = [sum((share[step] for share in shares), []) for step in range(3)]
    assert joined == whole
