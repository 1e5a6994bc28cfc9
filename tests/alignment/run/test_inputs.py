"""Reading recordings and plain pair folders."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localblur.alignment.light.radiometry import RadiometrySettings
from localblur.alignment.run.inputs import open_input
from localblur.common.errors import LocalblurError
from localblur.datasets.images import write_image
from localblur.datasets.recording import CameraRecord, Frame, RecordingManifest, RecordingWriter, Role

SETTINGS = RadiometrySettings()


def picture(bits: int = 8, value: int = 50) -> np.ndarray:
    return np.full((120, 130, 3), value, np.uint8 if bits == 8 else np.uint16)


def pair(folder: Path, name: str = "00", bits: int = 8) -> Path:
    for role in ("blur", "sharp"):
        write_image(folder / f"{name}_{role}.png", picture(bits))
    return folder


def test_missing_folder_file_and_foreign_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(LocalblurError, match="does not exist"):
        open_input(tmp_path / "nowhere", None, SETTINGS)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalblurError, match="is no folder"):
        open_input(tmp_path / "file", None, SETTINGS)
    pair(tmp_path / "calibration" / "static")
    with pytest.raises(LocalblurError, match="holds no pair: expected"):
        open_input(tmp_path, None, SETTINGS)


@pytest.mark.parametrize("group", ["scenes/a", "calibration/static"])
@pytest.mark.parametrize(("present", "absent"), [("blur", "sharp"), ("sharp", "blur")])
def test_missing_partner_is_named_at_once(group: str, present: str, absent: str, tmp_path: Path) -> None:
    pair(tmp_path / "scenes" / "a")
    write_image(tmp_path / group / f"07_{present}.png", picture())
    with pytest.raises(LocalblurError, match=f"07_{present}.png has no partner 07_{absent}.png"):
        open_input(tmp_path, None, SETTINGS)


def test_two_files_for_one_image_are_refused(tmp_path: Path) -> None:
    write_image(pair(tmp_path / "scenes" / "a") / "00_blur.tif", picture())
    with pytest.raises(LocalblurError, match="both the blur image"):
        open_input(tmp_path, None, SETTINGS)


def test_sixteen_bits_must_state_their_encoding(tmp_path: Path) -> None:
    pair(tmp_path / "scenes" / "a", bits=16)
    with pytest.raises(LocalblurError, match="--encoding linear"):
        open_input(tmp_path, None, SETTINGS)
    source = open_input(tmp_path, "linear", SETTINGS)
    assert not source.eight_bit
    assert source.read("scenes/a", "00").sharp.light.max() == pytest.approx(50 / 65535, rel=1e-4)


def test_mixed_depth_is_refused(tmp_path: Path) -> None:
    pair(tmp_path / "scenes" / "a")
    pair(tmp_path / "scenes" / "b", bits=16)
    source = open_input(tmp_path, None, SETTINGS)
    with pytest.raises(LocalblurError, match="has 16 bits, but the first"):
        source.read("scenes/b", "00")


def test_damaged_picture_is_an_error_when_read_not_before(tmp_path: Path) -> None:
    folder = pair(tmp_path / "scenes" / "a")
    pair(folder, "01")
    (folder / "00_sharp.png").write_bytes(b"\x89PNG broken")
    source = open_input(tmp_path, None, SETTINGS)
    assert source.pairs("scenes/a") == ["00", "01"]
    with pytest.raises(LocalblurError, match="00_sharp.png"):
        source.read("scenes/a", "00")
    assert source.read("scenes/a", "01").label.endswith("scenes/a/01")


def test_folder_lists_scenes_and_ignores_other_files(tmp_path: Path) -> None:
    for scene in ("b", "a"):
        pair(tmp_path / "scenes" / scene, "03")
    (tmp_path / "scenes" / "a" / "notes.txt").write_text("x")
    (tmp_path / "scenes" / "empty").mkdir()
    source = pickle.loads(pickle.dumps(open_input(tmp_path, None, SETTINGS)))  # noqa: S301 - as worker processes do
    assert source.kind == "folder"
    assert source.scenes() == ["a", "b"]
    assert source.pairs("scenes/a") == ["03"]
    assert source.pairs("calibration/static") == []
    with pytest.raises(LocalblurError, match="holds no pair 99"):
        source.read("scenes/a", "99")


def camera(role: Role) -> CameraRecord:
    return CameraRecord(
        role=role,
        model="test",
        serial=role,
        pixel_format="BayerRG12",
        bit_depth=12,
        bayer="RGGB",
        width=130,
        height=120,
        black_level=64,
        white_level=4095,
        exposure_ms=20,
    )


def record(path: Path, count: int = 2) -> Path:
    writer = RecordingWriter.create(path, RecordingManifest(camera_B=camera("B"), camera_S=camera("S")))
    journal = writer.journal("scenes/desk")
    for index in range(count):
        frames: list[Any] = [
            Frame(
                role=role,
                data=np.full((120, 130), 64 + value, np.uint16),
                block_id=index,
                host_time_ns=index,
                camera_time_ns=None,
                exposure_ms=exposure,
            )
            for role, value, exposure in (("B", 2015, 20.0), ("S", 806, 2.0))
        ]
        journal.commit_pair(*frames, gap_ms=0.1)
    writer.close("complete")
    return path


def grow(path: Path, group: str, value: int = 100) -> None:
    writer = RecordingWriter.open(path)
    frame = {"block_id": 1, "host_time_ns": 1, "camera_time_ns": None, "exposure_ms": 1.0}
    data = np.full((120, 130), value, np.uint16)
    frames = [Frame(role=role, data=data, **frame) for role in ("B", "S")]  # type: ignore[arg-type]
    writer.journal(group).commit_pair(*frames, gap_ms=0.0)
    writer.close("complete")


def test_recording_is_linearised_with_its_levels(tmp_path: Path) -> None:
    source = open_input(record(tmp_path / "rec"), None, SETTINGS)
    assert (source.kind, source.scenes(), source.pairs("scenes/desk")) == ("recording", ["desk"], ["000000", "000001"])
    assert source.pairs("calibration/static") == []
    found = source.read("scenes/desk", "000001")
    np.testing.assert_allclose(found.blurred.light, 2015 / 4031, rtol=1e-4)
    np.testing.assert_allclose(found.sharp.light, 806 / 4031, rtol=1e-4)
    assert (found.exposure_long_ms, found.exposure_short_ms) == (20.0, 2.0)


def test_dark_frames_give_the_black_unless_told_otherwise(tmp_path: Path) -> None:
    path = record(tmp_path / "rec")
    grow(path, "calibration/dark", 68)
    source = open_input(path, None, SETTINGS)
    found = source.read("scenes/desk", "000000")
    np.testing.assert_allclose(found.blurred.light, 2011 / 4031, rtol=1e-4)
    np.testing.assert_allclose(found.sharp.light, 802 / 4031, rtol=1e-4)
    assert {role: black.offset_dn for role, black in source.blacks().items()} == {"B": 4.0, "S": 4.0}
    without = open_input(path, None, RadiometrySettings(dark_frames=False))
    np.testing.assert_allclose(without.read("scenes/desk", "000000").blurred.light, 2015 / 4031, rtol=1e-4)
    assert not without.blacks()


def test_dark_frames_that_are_not_dark_are_said_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = record(tmp_path / "rec")
    grow(path, "calibration/dark", 2000)
    found = open_input(path, None, SETTINGS).read("scenes/desk", "000000")
    np.testing.assert_allclose(found.blurred.light, 2015 / 4031, rtol=1e-4)
    assert "dark frames of camera B are not used" in caplog.text


def test_damaged_and_missing_frames_of_a_recording(tmp_path: Path) -> None:
    path = record(tmp_path / "rec")
    source = open_input(path, None, SETTINGS)
    frame = path / "scenes" / "desk" / "000000_S.tif"
    frame.write_bytes(frame.read_bytes()[:-10])
    with pytest.raises(LocalblurError, match="000000_S.tif is damaged"):
        source.read("scenes/desk", "000000")
    with pytest.raises(LocalblurError, match="no pair 000009"):
        source.read("scenes/desk", "000009")


def test_recording_without_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalblurError, match="holds no pair"):
        open_input(record(tmp_path / "rec", count=0), None, SETTINGS)


def test_grown_recording_is_seen_again(tmp_path: Path) -> None:
    path = record(tmp_path / "rec", count=1)
    assert open_input(path, None, SETTINGS).pairs("scenes/desk") == ["000000"]
    grow(path, "scenes/desk")
    assert open_input(path, None, SETTINGS).pairs("scenes/desk") == ["000000", "000001"]


def test_a_recording_keeps_its_identity_while_scenes_grow_but_not_with_new_calibration_pairs(tmp_path: Path) -> None:
    path = record(tmp_path / "rec")
    before = open_input(path, None, SETTINGS).identity
    assert str(path) in before
    grow(path, "scenes/desk")
    grow(path, "scenes/hall")
    assert open_input(path, None, SETTINGS).identity == before
    grow(path, "calibration/static")
    assert open_input(path, None, SETTINGS).identity != before


def test_a_folder_keeps_its_identity_while_scenes_grow_but_not_with_new_calibration_pairs(tmp_path: Path) -> None:
    pair(tmp_path / "scenes" / "a")
    pair(tmp_path / "calibration" / "static")
    before = open_input(tmp_path, None, SETTINGS).identity
    pair(tmp_path / "scenes" / "a", "01")
    assert open_input(tmp_path, None, SETTINGS).identity == before
    pair(tmp_path / "calibration" / "static", "01")
    assert open_input(tmp_path, None, SETTINGS).identity != before
