"""Videos: every frame is restored at its time, sound stays, damage is one line."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.training.inference.restoration_video import frame_count, restore_video

TIMES = [0, 1, 2, 5, 6, 9]
"""Uneven, in tenths of a second."""


def make_video(path: Path, *, sound: bool = True, width: int = 64, height: int = 48) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        noise = output.add_stream("aac", rate=8000, layout="mono") if sound else None
        for index, time in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 + 30 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if noise is not None:
            tone = (np.sin(np.arange(8000) / 5) * 8000).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            samples.sample_rate = 8000
            output.mux(noise.encode(samples))
            output.mux(noise.encode())
    return path


def frames(path: Path) -> list[tuple[float, float]]:
    with av.open(str(path)) as container:
        return [
            (round(float(frame.time), 3), float(frame.to_ndarray(format="rgb24").mean()))
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_what_is_no_video_is_one_line_and_nothing_is_written(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(LocalblurError, match="cannot open"):
        restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", lambda frame: frame, lambda: None)
    with pytest.raises(LocalblurError, match="no such video"):
        frame_count(tmp_path / "none.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_a_truncated_video_is_an_error_and_leaves_no_half_a_file(tmp_path):
    source = make_video(tmp_path / "a.mkv", sound=False, width=320, height=240)
    (tmp_path / "cut.mkv").write_bytes(source.read_bytes()[:300])
    with pytest.raises(LocalblurError, match=r"holds no frames|damaged|no video stream"):
        restore_video(tmp_path / "cut.mkv", tmp_path / "b.mp4", lambda frame: frame, lambda: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "cut.mkv"]


def make_long(path: Path, rng: np.random.Generator, count: int = 40) -> Path:
    """Noise, with a key frame every ten frames."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=20, options={"g": "10", "bf": "0", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(count):
            noise = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_video_that_ends_too_early_is_an_error_and_leaves_no_half_a_file(tmp_path, rng, share):
    whole = make_long(tmp_path / "a.mkv", rng).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(LocalblurError, match=r"cut\.mkv is truncated or damaged: frames for .* of 2\.00 s"):
        restore_video(tmp_path / "cut.mkv", tmp_path / "b.mp4", lambda frame: frame, lambda: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "cut.mkv"]


def test_damage_in_the_middle_is_told_and_the_rest_restored(tmp_path, rng):
    whole = bytearray(make_long(tmp_path / "a.mp4", rng).read_bytes())
    with av.open(str(tmp_path / "a.mp4")) as container:
        place = next(packet.pos for number, packet in enumerate(container.demux(video=0)) if number == 15)
    whole[place + 8 : place + 600] = rng.bytes(592)
    (tmp_path / "hurt.mp4").write_bytes(whole)
    done = restore_video(tmp_path / "hurt.mp4", tmp_path / "b.mp4", lambda frame: frame, lambda: None)
    assert 36 <= done.frames <= 40
    assert "damaged or predicted from" in done.damage
    assert len(frames(tmp_path / "b.mp4")) == done.frames


def test_a_folder_that_takes_no_video_names_the_video(tmp_path, monkeypatch):
    source, opened = make_video(tmp_path / "a.mp4"), av.open

    def refuses(name: str, *arguments: str) -> object:
        if arguments:
            raise av.error.PermissionError(errno.EACCES, "Permission denied")
        return opened(name)

    monkeypatch.setattr(av, "open", refuses)
    with pytest.raises(OSError, match=r"b\.mp4"):
        restore_video(source, tmp_path / "b.mp4", lambda frame: frame, lambda: None)


@pytest.mark.parametrize("sound", [True, False])
def test_frames_keep_their_times_and_sound_is_copied(tmp_path, sound):
    source = make_video(tmp_path / "a.mp4", sound=sound)
    told = []
    count, damage = restore_video(
        source, tmp_path / "b.mp4", lambda frame: frame + np.uint8(40), lambda: told.append(1)
    )
    assert damage == ""
    assert count == len(told) == frame_count(source) == len(TIMES)
    before, after = frames(source), frames(tmp_path / "b.mp4")
    assert [time for time, _ in after] == [time for time, _ in before] == [time / 10 for time in TIMES]
    for (_, old), (_, new) in zip(before, after, strict=True):
        assert new - old == pytest.approx(40, abs=3)
    with av.open(str(source)) as one, av.open(str(tmp_path / "b.mp4")) as other:
        assert len(other.streams.audio) == int(sound)
        if sound:
            packets = [[bytes(packet) for packet in file.demux(audio=0) if packet.size] for file in (one, other)]
            assert packets[0] == packets[1] != []


def test_odd_sizes_are_kept(tmp_path):
    source = make_video(tmp_path / "a.mp4", sound=False)
    restore_video(source, tmp_path / "b.mp4", lambda frame: np.ascontiguousarray(frame[:47, :63]), lambda: None)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (63, 47)


def test_colours_do_not_drift(tmp_path, rng):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        colours = np.repeat(np.repeat(rng.integers(30, 220, (6, 8, 3), dtype=np.uint8), 8, 0), 8, 1)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(colours, format="rgb24")))
        output.mux(stream.encode())
    restore_video(source, tmp_path / "b.mp4", lambda frame: frame, lambda: None)
    planes = []
    for path in (source, tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            planes.append(next(container.decode(video=0)).to_ndarray(format="yuv420p").astype(int))
    assert abs((planes[1] - planes[0])[:48].mean()) < 0.3


def make_noise(path: Path, rng: np.random.Generator) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(12):
            noise = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        output.mux(stream.encode())
    return path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may become larger than `size` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_limit_of_the_file_size_names_the_output(tmp_path, rng):
    source = make_noise(tmp_path / "a.mp4", rng)
    target = tmp_path / "b.mp4"
    with pytest.raises(OSError, match="File too large") as caught, largest_file(20_000):
        restore_video(source, target, lambda frame: frame, lambda: None)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(target)
    assert list(tmp_path.iterdir()) == [source]


def test_what_fails_behind_the_decoder_is_not_called_damage_of_the_video(tmp_path):
    source = make_video(tmp_path / "a.mp4")

    def full(_: np.ndarray) -> np.ndarray:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        restore_video(source, tmp_path / "b.mp4", full, lambda: None)
    assert caught.value.errno == errno.ENOSPC


def test_frames_that_cannot_be_encoded_are_one_line(tmp_path):
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(LocalblurError, match=r"cannot write .*b\.mp4"):
        restore_video(source, tmp_path / "b.mp4", lambda frame: np.tile(frame, (1, 400, 1)), lambda: None)
    assert list(tmp_path.iterdir()) == [source]
