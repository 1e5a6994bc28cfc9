"""Setting up the picture and the link on node maps of several families: names, refusals, what is recorded."""

import pytest

from localblur.acquisition.cameras.camera import LinkSettings
from localblur.acquisition.cameras.pylon_sdk import genicam
from localblur.acquisition.cameras.pylon_setup import CHANGED, set_link


def test_ace_2_is_set_up_by_standard_names(basler):
    nodes = basler.ace2_usb()
    record = basler.open_camera(nodes).apply(basler.SETTINGS)
    assert (record.model, record.serial, record.pixel_format, record.bayer) == ("a2A", "4000", "BayerRG12", "RGGB")
    assert (record.bit_depth, record.shape, record.white_level, record.black_level) == (12, (64, 96), 4095, 64)
    assert record.exposure_ms == 5.002  # the true one, which this family tells
    assert (nodes["Gain"], nodes["Gamma"], nodes["GainAuto"], nodes["BslColorSpace"]) == (0, 1, "Off", "Off")
    assert (nodes["OffsetX"], nodes["OffsetY"]) == (1176, 992)
    assert [nodes.nodes["BalanceRatio"].at(channel) for channel in ("Red", "Green", "Blue")] == [1, 1, 1]
    assert nodes.nodes["TriggerMode"].at("FrameBurstStart") == "Off"
    assert nodes["DeviceTemperatureSelector"] == "Sensor"


def test_classic_ace_gige_is_set_up_by_its_own_names(basler):
    nodes = basler.ace_gige()
    record = basler.open_camera(nodes).apply(basler.set_up({"source": "line", "delay_ms": 9.0}))
    assert (record.pixel_format, record.bayer, record.exposure_ms) == ("BayerBG12", "BGGR", 5.0)
    assert (nodes["GainRaw"], nodes["BlackLevelRaw"], record.black_level) == (136, 64, 64)
    assert (nodes["ProcessedRawEnable"], nodes["GammaEnable"]) == (False, False)
    assert nodes["TriggerDelayAbs"] == 9000
    assert float(record.features["TriggerDelay"]) == 9000  # one name for all families


def test_a_raw_black_level_counts_12_bit_steps_at_8_bits_too(basler):
    nodes = basler.ace_gige()
    record = basler.open_camera(nodes).apply(basler.SETTINGS.model_copy(update={"bit_depth": 8}))
    assert (record.pixel_format, nodes["BlackLevelRaw"], record.black_level) == ("BayerBG8", 64, 4)


def test_a_setting_that_the_camera_quietly_changes_is_refused(basler):
    nodes = basler.ace2_usb()
    nodes.nodes["Width"] = basler.Node(1920, low=4, high=2448, keeps=lambda value: value // 64 * 64)
    basler.refused(lambda: basler.open_camera(nodes).apply(basler.SETTINGS), "was asked for Width = 96 but has 64")


def test_a_camera_with_8_bit_bayer_only_is_used_with_a_warning(basler, caplog):
    record = basler.open_camera(basler.bayer8()).apply(basler.SETTINGS)
    assert (record.pixel_format, record.bit_depth, record.white_level, record.black_level) == ("BayerGB8", 8, 255, 4)
    assert "no 12-bit Bayer format; using BayerGB8" in caplog.text


def test_a_camera_without_colour_is_refused(basler):
    nodes, _ = basler.common(("Mono8", "Mono12"), absent=("BayerRG12",))
    basler.refused(
        lambda: basler.open_camera(basler.NodeMap(**nodes)).apply(basler.SETTINGS),
        "only Mono8, Mono12; use a colour camera",
    )


def test_what_was_switched_off_is_recorded_and_stays_so_when_set_up_again(basler):
    nodes = basler.ace2_usb()
    camera = basler.open_camera(nodes)
    first = camera.apply(basler.SETTINGS).features[CHANGED]
    assert "GainAuto Continuous -> Off; " in first
    assert "Gamma 0.4 -> 1.0; " in first
    assert "BalanceRatio[Blue] 1.7 -> 1.0" in first
    assert "BalanceWhiteAuto" not in first  # it was off
    assert camera.apply(basler.SETTINGS).features[CHANGED] == first
    nodes.nodes["Gamma"].Value = 2.0
    assert camera.apply(basler.SETTINGS).features[CHANGED] == first  # as it was found, not as it was last


def test_an_automatic_that_cannot_be_switched_off_is_warned_of(basler, caplog):
    nodes = basler.ace2_usb()
    nodes.nodes["GainAuto"].access = genicam.RO
    basler.open_camera(nodes).apply(basler.SETTINGS)
    assert "camera B (4000) keeps GainAuto = Continuous, wanted Off: it cannot be set now" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exposure_ms": 2e4}, r"exposure 20000\.0 ms is outside its range of 0\.0"),
        ({"width": 4096}, "does not take Width = 4096: Value = 4096 must be in range"),
    ],
)
def test_what_no_family_can_do_is_refused_with_the_value(basler, family, change, message):
    basler.refused(lambda: basler.open_camera(family()).apply(basler.SETTINGS.model_copy(update=change)), message)


def test_gain_in_db_is_refused_where_there_is_only_a_raw_one(basler):
    basler.refused(
        lambda: basler.open_camera(basler.ace_gige()).apply(basler.SETTINGS.model_copy(update={"gain_db": 3.0})),
        "no gain in dB",
    )


def test_link_settings_go_where_the_cable_has_them_and_are_warned_of_elsewhere(basler, caplog):
    link = LinkSettings(packet_bytes=8999, packet_delay_ticks=1200, limit_mb_s=180.0)
    gige, usb, stream = basler.ace_gige(), basler.ace2_usb(), basler.NodeMap(AutoPacketSize=basler.Node(True))
    set_link(basler.nodes_of(gige), basler.nodes_of(stream), link)
    assert (gige["GevSCPSPacketSize"], gige["GevSCPD"], stream["AutoPacketSize"]) == (8996, 1200, False)
    assert "no setting DeviceLinkThroughputLimit; 180000000 is not set" in caplog.text
    set_link(basler.nodes_of(usb), basler.nodes_of(basler.NodeMap()), link)
    assert (usb["DeviceLinkThroughputLimitMode"], usb["DeviceLinkThroughputLimit"]) == ("On", 180_000_000)
    assert caplog.text.count("is not set") == 3
    too_large = LinkSettings(packet_bytes=20_000)
    basler.refused(
        lambda: set_link(basler.nodes_of(gige), basler.nodes_of(stream), too_large),
        "20000 is outside its range of 220 to 16404",
    )
