"""Reading videos and folders of frames, and finding cuts."""

import wave

import av
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.films.scene_cuts import Shot, survey
from localblur.datasets.films.video import frame_rate, read_frames
from localblur.datasets.images import write_image

QUARTER_TURN_CLOCKWISE = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""What a phone held upright writes: ISO/IEC 14496-12 maps (p, q) to (-q, p)."""


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(LocalblurError) as caught:
        list(read_frames(tmp_path / "none.mp4"))
    assert "none.mp4 does not exist" in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    for read in (lambda: list(read_frames(path)), lambda: survey(path), lambda: frame_rate(path)):
        with pytest.raises(LocalblurError) as caught:
            read()
        assert "clip.mp4" in one_line(caught)


def test_a_file_with_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    with pytest.raises(LocalblurError, match="no video stream") as caught:
        survey(path)
    one_line(caught)


def test_a_video_without_frames_is_refused(tmp_path, write_video):
    path = write_video(tmp_path / "empty.mkv", [])
    with pytest.raises(LocalblurError, match="no frames|cannot open|damaged"):
        survey(path)


def test_a_truncated_video_keeps_its_readable_frames(tmp_path, write_video, moving_frames):
    path = write_video(tmp_path / "clip.mkv", moving_frames(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = survey(path)
    assert 5 < found.frame_count < 20
    assert "clip.mkv is truncated" in found.problem
    assert "\n" not in found.problem


def test_an_index_that_was_never_written_is_refused(tmp_path, write_video, moving_frames):
    path = write_video(tmp_path / "clip.mp4", moving_frames(10), codec="mpeg4", pixel_format="yuv420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the index of an MP4 comes last
    with pytest.raises(LocalblurError, match=r"clip\.mp4"):
        survey(path)


def test_a_folder_without_a_picture_that_can_be_read_is_refused(tmp_path):
    with pytest.raises(LocalblurError, match="holds no pictures"):
        list(read_frames(tmp_path))
    write_image(tmp_path / "1.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    assert [frame is None for frame in read_frames(tmp_path)] == [False, True]
    assert survey(tmp_path).damage == "cannot read 2.png"
    (tmp_path / "1.png").unlink()
    with pytest.raises(LocalblurError, match=r"none of the 1 frames of .* can be decoded") as caught:
        survey(tmp_path)
    one_line(caught)


def test_hdr_video_is_refused_because_no_curve_of_8_bits_describes_it(tmp_path, moving_frames):
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p10le"
        stream.codec_context.color_trc = 18
        for image in moving_frames(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    for read in (survey, lambda source: list(read_frames(source))):
        with pytest.raises(LocalblurError, match="HLG"):
            read(path)


def test_lossless_frames_come_back_bit_for_bit(tmp_path, write_video, moving_frames):
    frames = moving_frames(7)
    path = write_video(tmp_path / "clip.mkv", frames, rate=240)
    np.testing.assert_array_equal(list(read_frames(path)), frames)
    assert frame_rate(path) == 240


def test_pictures_of_a_folder_come_in_natural_order_and_8_bit(tmp_path):
    for number in (10, 9, 1):
        write_image(tmp_path / f"f{number}.png", np.full((8, 8, 3), number * 257, np.uint16))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [int(frame[0, 0, 0]) for frame in read_frames(tmp_path)] == [1, 9, 10]
    assert np.isnan(frame_rate(tmp_path))


def test_frames_are_turned_upright(tmp_path, write_video, rng):
    image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    path = write_video(
        tmp_path / "turned.mov", [image], codec="png", pixel_format="rgb24", matrix=QUARTER_TURN_CLOCKWISE
    )
    np.testing.assert_array_equal(next(read_frames(path)), np.rot90(image, -1))
    assert survey(path).shots == [Shot(start=0, stop=1, height=64, width=48)]


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("ffv1", "yuv444p"), ("mjpeg", "yuvj444p"), ("ffv1", "yuv444p10le")]
)
def test_video_levels_become_full_range(tmp_path, write_video, codec, pixel_format):
    ramp = np.repeat(np.linspace(0, 255, 64).round().astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    path = write_video(tmp_path / "ramp.mkv", [ramp], codec=codec, pixel_format=pixel_format)
    assert np.abs(next(read_frames(path)).astype(int) - ramp).max() <= 4
