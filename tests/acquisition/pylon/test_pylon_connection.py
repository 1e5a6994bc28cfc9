"""Opening, losing and closing a camera: nothing stays attached, and a new attempt works."""

import logging
import weakref

import pytest

from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.pylon_sdk import genicam

BUSY = "The device is controlled by another application. Err: An attempt was made to access an address location"


def test_a_busy_camera_is_waited_for_then_explained_and_can_be_tried_again(basler, monkeypatch):
    monkeypatch.setattr("localblur.acquisition.cameras.pylon.BUSY_RETRY_S", 0.1)
    busy = [basler.Device(basler.ace2_usb(), refuses=BUSY) for _ in range(4)]
    camera = basler.Found(*busy, basler.Device(basler.ace2_usb()))
    with pytest.raises(CameraError, match="in use by another application; close it") as failure:
        camera.open()
    assert failure.value.kind == "busy"
    tried = 5 - len(camera.devices)
    assert tried >= 2
    assert [device.destroyed for device in busy[:tried]] == [1] * tried  # nothing stays attached half-way
    camera.devices = [basler.Device(basler.ace2_usb(), refuses=BUSY), basler.Device(basler.ace2_usb())]
    camera.open()
    assert camera.apply(basler.SETTINGS).model == "a2A"


def test_after_a_failed_opening_nothing_is_left_and_a_new_attempt_works(basler):
    broken, good = (
        basler.Device(basler.ace2_usb(), refuses="Something broke : RuntimeException thrown"),
        basler.Device(basler.ace2_usb()),
    )
    camera = basler.Found(broken, good)
    with pytest.raises(CameraError, match=r"^camera B \(4000\): Something broke$") as failure:
        camera.open()
    assert (failure.value.kind, broken.destroyed) == ("disconnected", 1)
    with pytest.raises(CameraError, match="is not open"):
        camera.start()
    camera.open()
    camera.start()


def test_whatever_fails_on_a_camera_that_is_gone_is_a_disconnection(basler):
    device = basler.Device(basler.ace2_usb())
    camera = basler.Found(device, basler.Device(basler.ace2_usb()))
    camera.open()
    camera.apply(basler.SETTINGS)
    camera.start()
    basler.refused(camera.trigger, "trigger: Node is not writable")
    with pytest.raises(CameraError) as failure:
        camera.get(5, None)
    assert failure.value.kind == "timeout"
    device.removed = True
    for action in (camera.trigger, lambda: camera.get(5, None)):
        with pytest.raises(CameraError, match="the camera is gone; check its cable and power") as failure:
            action()
        assert failure.value.kind == "disconnected"


def test_a_reopened_camera_is_a_new_instance_with_the_same_record(basler, family):
    first, second = basler.Device(family()), basler.Device(family())
    camera = basler.Found(first, second)
    camera.open()
    before = camera.apply(basler.SETTINGS)
    camera.start()
    camera.close()
    camera.close()
    assert (first.grabbing, first.destroyed) == (False, 1)
    camera.open()
    assert camera._camera is second
    assert camera.apply(basler.SETTINGS) == before


def test_a_failing_close_is_logged_and_the_device_freed_all_the_same(basler, caplog):
    caplog.set_level(logging.WARNING)
    device = basler.Device(basler.ace2_usb())
    camera = basler.Found(device)
    camera.open()

    def fail():
        raise genicam.RuntimeException("cannot close : RuntimeException thrown")

    device.Close = fail
    camera.close()
    assert "did not close well: cannot close" in caplog.text
    assert device.destroyed == 1


def test_an_error_that_is_kept_does_not_keep_the_camera(basler):
    camera = basler.open_camera(basler.ace2_usb())
    camera.apply(basler.SETTINGS)
    alive = weakref.ref(camera._camera)
    with pytest.raises(CameraError, match="not writable") as failure:
        camera.trigger()
    camera.close()
    assert alive() is None
    assert isinstance(failure.value.__cause__, genicam.GenericException)
