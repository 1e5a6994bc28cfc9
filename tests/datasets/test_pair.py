import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Pair, PairInfo, binary_mask

PICTURE = np.zeros((6, 8, 3), np.uint8)
INFO = PairInfo(name="07")


@pytest.mark.parametrize(
    ("blurred", "sharp", "mask", "complaint"),
    [
        (PICTURE[..., 0], PICTURE, None, "blurred must be"),
        (PICTURE.astype(np.float32), PICTURE, None, "blurred must be"),
        (PICTURE, PICTURE[:5], None, "both must be the same"),
        (PICTURE, PICTURE.astype(np.uint16), None, "both must be the same"),
        (PICTURE, PICTURE, np.zeros((8, 6), np.uint8), "mask must be"),
        (PICTURE, PICTURE, np.zeros((6, 8), bool), "mask must be"),
    ],
)
def test_what_does_not_fit_together_names_the_pair(blurred, sharp, mask, complaint):
    with pytest.raises(LocalblurError, match=f"pair s1/07.*{complaint}"):
        Pair(scene="s1", info=INFO, blurred=blurred, sharp=sharp, mask=mask)


def test_without_a_valid_box_the_whole_picture_is_valid():
    assert Pair(scene="s", info=INFO, blurred=PICTURE, sharp=PICTURE).valid_box == (0, 0, 6, 8)
    boxed = PairInfo(name="07", valid_box=(1, 2, 5, 7))
    assert Pair(scene="s", info=boxed, blurred=PICTURE, sharp=PICTURE).valid_box == (1, 2, 5, 7)


def test_a_soft_mask_is_blurred_from_128():
    np.testing.assert_array_equal(binary_mask(np.array([[0, 1, 127, 128, 255]], np.uint8)), [[0, 0, 0, 1, 1]])
