"""Clock and status on node maps of several families."""

import time

from localblur.acquisition.cameras.pylon_health import read_clock, read_status, tick_ns
from localblur.acquisition.cameras.pylon_sdk import genicam


def test_the_clock_is_read_in_ns_between_two_readings_of_the_host(basler):
    for nodes, expected in ((basler.ace2_usb(), 123_456), (basler.ace_gige(), 8000)):
        reading = read_clock(basler.nodes_of(nodes), tick_ns(basler.nodes_of(nodes)))
        assert reading.camera_ns == expected
        assert 0 <= reading.uncertainty_ns < 1e9
    assert read_clock(basler.nodes_of(basler.bayer8()), 1.0) is None


def test_of_several_readings_of_the_clock_the_narrowest_counts(basler):
    pauses_s = iter((0.05, 0.0, 0.05))
    nodes = basler.NodeMap(
        TimestampLatch=basler.Command(lambda: time.sleep(next(pauses_s))),
        TimestampLatchValue=basler.Node(7, genicam.RO),
    )
    assert read_clock(basler.nodes_of(nodes), 1.0).uncertainty_ns < 20e6


def test_a_camera_reads_its_clock_with_its_own_ticks(basler):
    camera = basler.open_camera(basler.ace_gige())
    camera.apply(basler.SETTINGS)
    assert camera.clock().camera_ns == 8000


def test_the_status_has_what_there_is_and_passes_over_what_cannot_be_read(basler):
    def gone():
        raise genicam.RuntimeException("the device does not answer")

    stream = basler.NodeMap(
        Statistic_Failed_Buffer_Count=basler.Node(3, genicam.RO),
        Statistic_Missed_Frame_Count=basler.Node(gone, genicam.RO),
        Statistic_Resend_Request_Count=basler.Node(5, genicam.NA),
    )
    assert read_status(basler.nodes_of(basler.ace2_usb()), basler.nodes_of(stream)) == {
        "temperature_c": 41.5,
        "failed_buffers": 3,
    }
    assert read_status(basler.nodes_of(basler.ace_gige()), basler.nodes_of(basler.NodeMap())) == {"temperature_c": 52}
    assert read_status(basler.nodes_of(basler.bayer8()), basler.nodes_of(basler.NodeMap())) == {}
    assert basler.Found(basler.Device(basler.bayer8())).status() == {}
