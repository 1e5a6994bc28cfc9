"""The simulated camera: refuses to be another camera than its feed's. Its contract is tested with all cameras."""

import numpy as np
import pytest

from localblur.acquisition.camera import CameraError, CameraSettings
from localblur.acquisition.simulated import SimulatedCamera


@pytest.mark.parametrize("change", [{"exposure_ms": 3.0}, {"width": 18}, {"height": 10}, {"bit_depth": 8}])
def test_settings_its_frames_were_not_made_with_are_refused(coded_feed, change):
    camera = SimulatedCamera("S", coded_feed)
    settings = CameraSettings(**{"exposure_ms": 2.0, "width": 16, "height": 8, **change})
    name = next(iter(change))
    with pytest.raises(CameraError, match=f"simulated camera S has {name}") as failure:
        camera.apply(settings)
    assert failure.value.kind == "refused"


def test_it_takes_no_trigger_before_it_is_started(coded_feed):
    camera = SimulatedCamera("S", coded_feed)
    assert not camera.ready(10)
    with pytest.raises(CameraError, match="is not started") as failure:
        camera.trigger()
    assert failure.value.kind == "disconnected"


def test_the_end_of_its_feed_is_a_timeout(coded_feed):
    coded_feed.length = 1
    camera, out = SimulatedCamera("S", coded_feed), np.zeros((8, 16), np.uint16)
    camera.start()
    camera.trigger()
    assert (camera.get(10, out).data == 1000).all()
    camera.trigger()
    with pytest.raises(CameraError, match="its feed has no frame 1") as failure:
        camera.get(10, out)
    assert failure.value.kind == "timeout"
