"""What the system refuses, behind the texts of HDF5."""

import errno
from pathlib import Path

import pytest

from localblur.datasets.storage.hdf5 import writing

OUTPUT = Path("pairs.h5")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_a_refusal_that_hdf5_hides_gets_its_errno_and_the_file(code):
    for hiding in (OSError, RuntimeError):
        with pytest.raises(OSError, match=r"pairs\.h5") as caught, writing(OUTPUT):
            raise hiding(f"Can't write data (file write failed: errno = {code}, error message = 'x')")
        assert (caught.value.errno, caught.value.filename) == (code, "pairs.h5")


def test_a_refusal_without_a_file_gets_one_and_another_keeps_its_own():
    with pytest.raises(PermissionError) as caught, writing(OUTPUT):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert caught.value.filename == "pairs.h5"
    with pytest.raises(PermissionError) as caught, writing(OUTPUT):
        raise PermissionError(errno.EACCES, "Permission denied", "part.npz")
    assert caught.value.filename == "part.npz"


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="errno = 5,"), writing(OUTPUT):
        raise RuntimeError("errno = 5, error message = 'Input/output error'")
