"""Damage in the middle of a video costs the frames it touches, never the rest, and is never blended."""

import re

import av
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.datasets.films.damaged_video import describe_damage
from localblur.datasets.films.scene_cuts import survey, survey_from_plain, survey_to_plain
from localblur.datasets.films.video import read_frames
from localblur.datasets.images import write_image
from localblur.datasets.store import PairsFile
from localblur.datasets.synthesize_gopro import main

FRAMES, KEY_EVERY, DAMAGED = 48, 12, 20


def run(*arguments):
    return CliRunner().invoke(main, [*(str(argument) for argument in arguments), "--workers", "1"])


def only_line(result):
    """What standard error says; how often progress is told depends on the machine."""
    (line,) = [
        line for line in result.stderr.splitlines() if not re.fullmatch(r"(reading|blending): \d+/\d+ \w+", line)
    ]
    return line


@pytest.fixture
def write_coded(rng):
    """Write a textured pan as a video with a key frame every `KEY_EVERY` frames."""
    texture = rng.integers(20, 235, (96, 400, 3), dtype=np.uint8)

    def write(path, codec, pixel_format, **options):
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=50)
            stream.width, stream.height, stream.pix_fmt = 160, 96, pixel_format
            stream.gop_size = KEY_EVERY
            for index in range(FRAMES):
                image = np.ascontiguousarray(texture[:, 4 * index : 4 * index + 160])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return write


def packets(path):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def damage(path, number):
    """Overwrite most of a packet, its head left as it is."""
    packet = packets(path)[number]
    content = bytearray(path.read_bytes())
    first = packet.pos + packet.size // 3
    noise = np.random.default_rng(3).integers(0, 256, packet.size // 2, dtype=np.uint8)
    content[first : first + len(noise)] = noise.tobytes()
    path.write_bytes(content)


CODECS = [
    ("clip.mp4", "libx264", "yuv420p"),  # the decoder refuses the packet
    ("clip.avi", "mpeg4", "yuv420p"),  # it conceals the damage and says so
    ("clip.mov", "png", "rgb24"),  # every frame stands alone
]


@pytest.mark.parametrize(("name", "codec", "pixel_format"), CODECS)
def test_a_damaged_frame_costs_what_is_predicted_from_it_and_no_more(tmp_path, write_coded, name, codec, pixel_format):
    path = write_coded(tmp_path / name, codec, pixel_format)
    whole = list(read_frames(path))
    assert len(whole) == FRAMES
    assert survey(path).damaged == []
    damage(path, DAMAGED)
    frames = list(read_frames(path))
    good = [frame for frame in frames if frame is not None]
    lost = FRAMES - len(good)
    assert 1 <= lost <= (1 if codec == "png" else KEY_EVERY)
    for frame in good:  # a concealed or mispredicted frame would be none of the original ones
        assert min(np.abs(frame.astype(int) - other).max() for other in whole) == 0
    found = survey(path)
    assert found.problem is None
    assert found.damaged == [index for index, frame in enumerate(frames) if frame is None]
    assert found.frame_count == len(good)
    assert any(found.damaged[0] in shot.breaks for shot in found.shots)
    assert found.missing == 0
    assert f"{lost} frame{'s are' if lost > 1 else ' is'} damaged" in found.damage
    assert survey_from_plain(survey_to_plain(found)).damaged == found.damaged


@pytest.mark.parametrize(("name", "codec", "pixel_format"), CODECS)
def test_no_pair_has_a_damaged_frame_and_the_rest_of_the_video_is_used(
    tmp_path, write_coded, name, codec, pixel_format
):
    path = write_coded(tmp_path / name, codec, pixel_format)
    arguments = ("--frames", "4", "--no-mask", "--coded", "--preview")
    whole = list(read_frames(path))
    damage(path, DAMAGED)
    result = run(path, "-o", tmp_path / "x.h5", *arguments)
    assert result.exit_code == 3
    assert "damaged" in only_line(result)
    last = 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        for scene in pairs.scenes:
            for index in range(scene.count):
                pair = pairs.read(scene.name, index)
                middle = next(number for number, frame in enumerate(whole) if (frame == pair.sharp).all())
                window = np.array(whole[middle - 2 : middle + 2], float)
                np.testing.assert_array_equal(pair.blurred, np.rint(window.mean(axis=0)))
                last = max(last, middle)
    assert last >= FRAMES - 6
    assert (tmp_path / "x.h5.preview" / "clip.png").is_file()


def test_pictures_of_a_folder_that_cannot_be_read_are_left_out(tmp_path, moving_frames):
    for index, frame in enumerate(moving_frames(17)):
        write_image(tmp_path / "frames" / f"{index:02d}.png", frame)
    damaged = tmp_path / "frames" / "08.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    result = run(tmp_path / "frames", "-o", tmp_path / "x.h5", "--frames", "5")
    assert result.exit_code == 3
    assert "08.png" in result.stderr
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [info.name for info in pairs.info("frames")] == ["000000", "000008"]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.mp4"])
def test_a_truncated_video_is_used_up_to_its_end_and_told_in_one_line(tmp_path, write_coded, name):
    path = write_coded(tmp_path / name, "mjpeg", "yuvj420p", **({"movflags": "faststart"} if "mp4" in name else {}))
    assert survey(path).problem is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    result = run(path, "-o", tmp_path / "x.h5", "--frames", "5")
    assert result.exit_code == 3
    assert "truncated" in only_line(result)
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert sum(scene.count for scene in pairs.scenes) in (4, 5)


def test_a_last_frame_that_stays_is_no_truncation(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        coded = []
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * index, np.uint8), format="rgb24")
            frame.pts = index
            coded += stream.encode(frame)
        coded += stream.encode(None)
        coded[-1].duration = round(3 / coded[-1].time_base)
        for packet in coded:
            container.mux(packet)
    found = survey(path)
    assert (found.frame_count, found.problem) == (20, None)


def test_a_video_of_damaged_frames_alone_is_refused(tmp_path, write_coded):
    path = write_coded(tmp_path / "clip.mkv", "libx264", "yuv420p")
    content = bytearray(path.read_bytes())
    for packet in packets(path):
        head = min(packet.size, 20)
        content[packet.pos + head : packet.pos + packet.size] = bytes(packet.size - head)
    path.write_bytes(content)
    with pytest.raises(LocalblurError, match="cannot be decoded|damaged") as caught:
        survey(path)
    assert "\n" not in str(caught.value)


def test_damaged_and_repeated_frames_are_left_out_together(tmp_path, moving_frames):
    frames = moving_frames(24)
    order = [index for index in range(24) for _ in range(1 + (index % 4 == 3))]  # every fourth is repeated
    for number, index in enumerate(order):
        write_image(tmp_path / "frames" / f"{number:02d}.png", frames[index])
    for number in (2, 15):
        (tmp_path / "frames" / f"{number:02d}.png").write_bytes(b"nothing")
    found = survey(tmp_path / "frames", "drop")
    assert found.damaged == [2, 15]
    numbers = found.numbers_in_source()
    assert [order[number] for number in numbers] == [index for index in range(24) if index not in (2, order[15])]
    stops = [numbers[start] for shot in found.shots for start, _ in shot.runs]
    assert {3, 16} <= set(stops)


@pytest.mark.parametrize(
    ("damaged", "times", "told"),
    [
        ([], [0.0, 0.1], ""),
        ([2], [0.0, 0.1, 0.3, 0.4], "1 frame is damaged or predicted from a damaged one, 0.2 s"),
        ([2], [0.0, 0.1, 0.6, 0.7, 0.8], "4 frames are damaged or predicted from damaged ones, 0.2 to 0.5 s"),
        ([0, 1], [0.2, 0.3], "2 frames are damaged or predicted from damaged ones, up to 0.1 s"),
        ([2, 3], [0.0, 0.1], "2 frames are damaged or predicted from damaged ones, from 0.2 s on"),
        ([1, 3], [0.0, 0.2, 0.4, 0.5, 0.6, 0.7], "2 frames are damaged or predicted from damaged ones, 0.1 s, 0.3 s"),
        ([1, 2], [np.nan, np.nan], "2 frames are damaged or predicted from damaged ones, number 1 to 2"),
    ],
)
def test_damage_is_told_by_its_times(damaged, times, told):
    assert describe_damage(damaged, np.array(times)) == told


def test_a_video_whose_frames_change_their_size_is_divided_there(tmp_path, rng):
    """Two transport streams, one after the other in one file, as a camera leaves them that was set anew."""
    joined = b""
    for name, width, height in (("a.ts", 160, 96), ("b.ts", 128, 64)):
        coarse = rng.integers(20, 235, (height // 4, 80, 3), dtype=np.uint8)
        texture = coarse.repeat(4, axis=0).repeat(4, axis=1)
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=50)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(30):
                image = np.ascontiguousarray(texture[:, 2 * index : 2 * index + width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        joined += (tmp_path / name).read_bytes()
    video, output = tmp_path / "joined.ts", tmp_path / "pairs.h5"
    video.write_bytes(joined)
    result = run(video, "-o", output, "--frames", "7")
    assert result.exit_code == 0, result.output
    with PairsFile.open(output) as file:
        sizes = [file.read(scene.name, index).sharp.shape for scene in file.scenes for index in range(scene.count)]
    assert sizes.count((96, 160, 3)) >= 3
    assert sizes.count((64, 128, 3)) >= 3
    assert len(set(sizes)) == 2
