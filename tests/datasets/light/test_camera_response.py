"""Camera responses: published, and read from a file."""

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.light.camera_response import CAMERA_RESPONSES, camera_response, read_curve


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,light\n0,0\n200,1\n", "from code 0 to code 255"),
        ("0,0\n128,0.5\n128,0.6\n255,1\n", "must increase"),
        ("0,0\n128,0.5\n200,0.4\n255,1\n", "must increase"),
        ("0,0\n255,nan\n", "must increase"),
        ("0,0\nx,1\n255,1\n", "line 2"),
        ("0,0,0\n255,1,1\n", "line 1"),
        ("", "0 points"),
    ],
)
def test_what_is_no_curve_is_refused(tmp_path, text, message):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(LocalblurError, match=message) as caught:
        read_curve(path)
    assert "\n" not in str(caught.value)
    assert "curve.csv" in str(caught.value)


def test_an_unknown_name_is_told_with_those_that_exist():
    with pytest.raises(LocalblurError, match=r"srgb nor gamma2.2 nor a file"):
        camera_response("log-c")


@pytest.mark.parametrize("name", sorted(CAMERA_RESPONSES))
def test_every_code_survives_decoding_and_encoding(name):
    response, codes = CAMERA_RESPONSES[name], np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(response.encode(response.decode(codes)), codes)


def test_a_measured_curve_is_followed(tmp_path):
    """A gamma of 1.8 measured at 18 codes, in another unit and with an offset."""
    codes = np.linspace(0, 255, 18).round()
    lines = [f"{code:g},{3 + 500 * (code / 255) ** 1.8:.6f}" for code in codes]
    path = tmp_path / "curve.csv"
    path.write_text("code,light\n# with a spotmeter\n" + "\n".join(lines))
    response = camera_response(str(path))
    every = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(response.decode(every)[0], (every[0] / 255.0) ** 1.8, atol=2e-3)
    np.testing.assert_array_equal(response.encode(response.decode(every)), every)
