"""The contract of a camera, kept alike by the simulated one and by Basler's emulator."""

import numpy as np
import pytest
import tifffile

from localblur.acquisition.cameras.camera import CameraError, CameraSettings, opened
from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.common.errors import LocalblurError
from localblur.common.settings import validate

SETTINGS = CameraSettings(exposure_ms=20.0, width=16, height=8, bit_depth=12, black_level=0)


@pytest.fixture(params=["simulated", "emulated"])
def camera(request, coded_feed, tmp_path):
    """An opened camera, set up, whose frame n is all n."""
    if request.param == "simulated":
        made = SimulatedCamera("B", coded_feed)
    else:
        request.getfixturevalue("two_emulated")
        from localblur.acquisition.cameras.emulation import EmulatedCamera

        for index in range(12):
            frame = coded_feed.frame("B", index) << 4
            tifffile.imwrite(tmp_path / f"{index:06d}.tif", frame, photometric="minisblack")
        made = EmulatedCamera("B", tmp_path)
    with opened(made):
        made.apply(SETTINGS)
        yield made


@pytest.fixture
def out():
    return np.zeros((8, 16), np.uint16)


def shoot(camera, out):
    assert camera.ready(1000)
    camera.trigger()
    return camera.get(2000, out)


def test_apply_tells_what_is_set(camera):
    record = camera.apply(SETTINGS)
    assert (record.role, record.shape, record.dtype) == ("B", (8, 16), np.uint16)
    assert (record.bayer, record.bit_depth, record.pixel_format) == ("RGGB", 12, "BayerRG12")
    assert (record.black_level, record.white_level, record.exposure_ms) == (0, 4095, 20.0)
    assert record.model
    assert record.serial


def test_one_trigger_one_frame_in_order(camera, out):
    camera.start()
    for index in range(5):
        frame = shoot(camera, out)
        assert frame.data is out
        assert frame.block_id in (index, None)  # the emulator of pypylon 4 has no counter
        assert frame.exposure_ms == 20.0
        assert (out == index).all()
    camera.stop()


def test_without_a_trigger_there_is_no_frame(camera, out):
    camera.start()
    assert not camera.pending()
    with pytest.raises(CameraError) as failure:
        camera.get(30, out)
    assert failure.value.kind == "timeout"


def test_an_unfetched_frame_is_pending_and_gone_after_a_restart(camera, out):
    camera.start()
    shoot(camera, out)
    camera.ready(1000)
    camera.trigger()
    for _ in range(200):
        if camera.pending():
            break
        camera.ready(10)
    assert camera.pending()
    camera.stop()
    camera.start()
    assert not camera.pending()
    frame = shoot(camera, out)
    assert frame.block_id in (0, None)
    assert (out == 0).all()


def test_stop_and_close_may_come_twice(camera):
    camera.start()
    camera.stop()
    camera.stop()
    camera.close()
    camera.close()


def test_a_buffer_of_another_size_is_refused(camera):
    camera.start()
    camera.ready(1000)
    camera.trigger()
    with pytest.raises((CameraError, ValueError)):
        camera.get(1000, np.zeros((4, 4), np.uint16))


def test_a_size_it_does_not_have_is_refused(camera):
    with pytest.raises(CameraError) as failure:
        camera.apply(SETTINGS.model_copy(update={"width": 100_000}))
    assert failure.value.kind == "refused"
    assert "100000" in str(failure.value)


def test_opened_closes_all_cameras_when_one_cannot_be_opened(coded_feed):
    class Noted(SimulatedCamera):
        closed = 0

        def close(self):
            self.closed += 1

    class Missing(Noted):
        def open(self):
            raise CameraError("missing", "not there")

    first, second = Noted("B", coded_feed), Missing("S", coded_feed)
    with pytest.raises(CameraError, match="not there"), opened(first, second):
        pass
    assert (first.closed, second.closed) == (1, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"exposure_ms": 1, "exposure_us": 2}, "exposure_us"), ({"exposure_ms": 1, "bit_depth": 10}, "bit_depth")],
)
def test_settings_refuse_what_they_do_not_know(values, message):
    with pytest.raises(LocalblurError, match=message):
        validate(CameraSettings, values, "camera B")
