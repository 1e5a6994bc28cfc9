"""The command that makes masks for a pairs file or a plain folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.alignment.mask_dataset import main
from localblur.alignment.masks.blur_masks import MaskSettings, pair_mask
from localblur.alignment.masks.run import mask_pairs_file
from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_plane, srgb_decode, write_image
from localblur.datasets.pair import Pair, PairInfo, binary_mask
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

SIZE = (64, 96)


def run(*arguments):
    return CliRunner().invoke(main, [*(str(argument) for argument in arguments), "--workers", "1"])


def coded_pair(rng) -> tuple[np.ndarray, np.ndarray]:
    """A textured square that moved over texture; uint8 blurred and sharp."""
    scene, square = rng.integers(60, 190, (*SIZE, 3)), rng.integers(20, 230, (24, 24, 3))
    frames = []
    for step in range(13):
        frame = scene.copy()
        frame[20:44, 20 + step : 44 + step] = square
        frames.append(frame)
    noise = rng.normal(0, 1, (2, *SIZE, 3))
    return tuple(
        np.clip(np.rint(image + extra), 0, 255).astype(np.uint8)
        for image, extra in zip((np.mean(frames, axis=0), frames[6]), noise, strict=True)
    )


def write_pairs(path: Path, rng, count=3, encoding="srgb", valid_box=None, masked=()) -> None:
    header = StoreHeader(encoding=encoding, bit_depth=8 if encoding == "srgb" else 16)
    with PairsWriter(path, header) as writer:
        for index in range(count):
            images = coded_pair(rng)
            if encoding == "linear":
                images = tuple(np.rint(srgb_decode(image / 255) * 65535).astype(np.uint16) for image in images)
            info = PairInfo(name=f"{index:02d}", valid_box=valid_box)
            mask = np.full(SIZE, 77, np.uint8) if index in masked else None
            writer.add(Pair(scene="s", info=info, blurred=images[0], sharp=images[1], mask=mask), "train")


@pytest.fixture
def folder(tmp_path, rng):
    """A plain pair folder with two pairs."""
    for name in ("00", "01"):
        for kind, image in zip(("blur", "sharp"), coded_pair(rng), strict=True):
            write_image(tmp_path / "in" / "scenes" / "s" / f"{name}_{kind}.png", image)
    return tmp_path / "in"


@pytest.mark.parametrize("content", [None, b"", b"no pairs file"])
def test_what_is_no_pairs_file_is_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert path.exists() == (content is not None)


def test_options_that_do_not_fit_the_input_are_usage_errors(tmp_path, rng, folder):
    write_pairs(tmp_path / "x.h5", rng, 1)
    assert run(tmp_path / "x.h5", "-o", tmp_path / "out").exit_code == 2
    assert run(folder).exit_code == 2
    assert run(folder, "-o", tmp_path / "out", "--method", "magic").exit_code == 2
    assert run(folder, "-o", tmp_path / "out", "--set", "low=high").exit_code == 1


def test_unusable_pairs_of_a_folder_are_listed(tmp_path, folder):
    scene = folder / "scenes" / "s"
    write_image(scene / "02_blur.png", np.zeros((*SIZE, 3), np.uint8))
    write_image(scene / "03_blur.png", np.zeros((*SIZE, 3), np.uint8))
    write_image(scene / "03_sharp.png", np.zeros((SIZE[0], 50, 3), np.uint8))
    write_image(scene / "04_blur.png", np.zeros((*SIZE, 3), np.uint16))
    write_image(scene / "04_sharp.png", np.zeros((*SIZE, 3), np.uint16))
    (scene / "01_sharp.png").write_bytes(b"")
    result = run(folder, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "left out 4:" in result.stderr
    for expected in ("02_blur.png", "s/03", "s/04", "s/01", "--encoding", "one size"):
        assert expected in result.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "s").iterdir()) == ["00.png"]


def test_masks_of_whole_pictures_raise_the_question_of_alignment(tmp_path, folder, rng):
    assert "aligned" not in run(folder, "-o", tmp_path / "good", "--method", "pair").stdout
    picture = np.kron(rng.integers(20, 230, (16, 24, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    write_image(folder / "scenes" / "s" / "02_blur.png", np.roll(picture, (9, 13), (0, 1)))
    write_image(folder / "scenes" / "s" / "02_sharp.png", picture)
    result = run(folder, "-o", tmp_path / "out", "--method", "pair")
    assert "1 cover more than 70% of their picture: are these pairs aligned (align-dataset)" in result.stdout


def test_a_folder_gets_one_soft_mask_per_pair(tmp_path, folder):
    result = run(folder, "-o", tmp_path / "out", "--method", "pair")
    assert result.exit_code == 0, result.output
    assert "2 masks made" in result.stdout
    mask = binary_mask(read_plane(tmp_path / "out" / "s" / "00.png"))
    truth = np.zeros(SIZE, bool)
    truth[20:44, 20:56] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8
    assert "motion_contrast" in (tmp_path / "out" / "mask_settings.json").read_text()


def test_masks_of_a_folder_are_kept_continued_and_never_silently_replaced(tmp_path, folder):
    run(folder, "-o", tmp_path / "out")
    masks = sorted((tmp_path / "out" / "s").iterdir())
    masks[0].unlink()
    before = masks[1].stat().st_mtime_ns
    result = run(folder, "-o", tmp_path / "out")
    assert (result.exit_code, "1 masks made, 1 kept" in result.stdout) == (0, True)
    assert masks[1].stat().st_mtime_ns == before
    other = (folder, "-o", tmp_path / "out", "--set", "high=9")
    assert run(*other).exit_code == 1
    assert masks[1].stat().st_mtime_ns == before
    assert run(*other, "--overwrite").exit_code == 0
    assert masks[1].stat().st_mtime_ns > before


def test_a_pairs_file_gets_its_masks_in_place_with_their_settings(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, valid_box=(0, 30, 64, 96))
    assert run(path, "--set", "high=7").exit_code == 0
    with PairsFile(path) as pairs:
        assert pairs.mask_settings is not None
        assert pairs.mask_settings["high"] == 7
        for index in range(3):
            pair = pairs.read("s", index)
            assert not pair.mask[:, :30].any()
            assert binary_mask(pair.mask[:, 30:]).any()
            assert pairs.blur_cells("s", index).any()


def test_linear_files_are_judged_as_they_look(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, 1, encoding="linear")
    assert run(path).exit_code == 0
    expected = pair_mask(*coded_pair(np.random.default_rng(0)))
    with PairsFile(path) as pairs:
        mask = binary_mask(pairs.read("s", 0).mask)
    assert (mask == binary_mask(expected)).mean() > 0.98


def test_existing_masks_of_a_file_are_kept_unless_told_otherwise(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, 2, masked=(1,))
    assert run(path).exit_code == 0
    with PairsFile(path) as pairs:
        assert np.unique(pairs.read("s", 1).mask).tolist() == [77]
        assert pairs.has_mask("s", 0)
    assert run(path).exit_code == 1
    assert run(path, "--overwrite").exit_code == 0
    with PairsFile(path) as pairs:
        assert len(np.unique(pairs.read("s", 1).mask)) > 2


def test_a_file_of_which_no_pair_can_be_masked_stays_as_it_is(tmp_path):
    path = tmp_path / "x.h5"
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        tiny = np.zeros((8, 8, 3), np.uint8)
        writer.add(Pair(scene="s", info=PairInfo(name="0"), blurred=tiny, sharp=tiny), "train")
    before = path.read_bytes()
    with pytest.raises(LocalblurError, match="no mask could be made"):
        mask_pairs_file(path, MaskSettings())
    assert path.read_bytes() == before


def test_every_mask_has_its_confidence_in_a_table_and_doubtful_ones_are_named(tmp_path, rng, folder):
    result = run(folder, "-o", tmp_path / "out", "--set", "doubtful_below=1")
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "out" / "mask_confidence.csv").read_text().splitlines()
    assert rows[0] == "scene,pair,blurred_share,confidence,doubtful"
    assert [row.split(",")[:2] for row in rows[1:]] == [["s", "00"], ["s", "01"]]
    assert all(0 < float(row.split(",")[3]) <= 1 for row in rows[1:])
    doubtful = [row for row in rows if row.endswith("yes")]
    assert result.stdout.count("confidence 0.") == len(doubtful)


@pytest.mark.parametrize("torn", ["s,00,0.1000,0.900,yes\ns,01,0.2", "s,00,0.1000,0.900,yes\ns,01,0.2000,0.800,n"])
def test_a_mask_whose_line_a_kill_cut_off_is_made_again(tmp_path, folder, torn):
    run(folder, "-o", tmp_path / "out")
    table, mask = tmp_path / "out" / "mask_confidence.csv", tmp_path / "out" / "s" / "01.png"
    before = mask.stat().st_mtime_ns
    table.write_text(f"scene,pair,blurred_share,confidence,doubtful\n{torn}")
    assert "1 masks made, 1 kept" in run(folder, "-o", tmp_path / "out").stdout
    assert mask.stat().st_mtime_ns > before
    rows = table.read_text().splitlines()
    assert rows[1] == "s,00,0.1000,0.900,yes"
    assert rows[2].startswith("s,01,")
    assert len(rows) == 3


def test_confidences_are_measures_of_the_pairs_and_the_doubtful_are_named_from_the_file(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, 3, masked=(2,))
    result = run(path, "--set", "doubtful_below=1")
    assert result.exit_code == 0
    with PairsFile(path) as pairs:
        found = [info.quality.get("mask_confidence") for info in pairs.info("s")]
    assert all(0 < value <= 1 for value in found[:2])
    assert found[2] is None
    assert result.stdout.count("confidence 0.") == sum(value < 1 for value in found[:2])
    assert list(tmp_path.iterdir()) == [path]


def test_the_method_is_stored_and_what_it_needs_is_told(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, 1)
    result = run(path, "--method", "mog2")
    assert result.exit_code == 1
    assert "--method pair" in result.stderr
    assert run(path).exit_code == 0
    with PairsFile(path) as pairs:
        assert pairs.mask_settings["method"] == "sequence"
        assert pairs.mask_settings["background"]["frames"] == 24


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_killed_run_leaves_the_file_good_and_continues(tmp_path, rng):
    path = tmp_path / "x.h5"
    write_pairs(path, rng, 12)
    before = path.read_bytes()
    script = "import sys; from localblur.alignment.mask_dataset import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", script, str(path), "--workers", "1"], stderr=subprocess.DEVNULL)
    parts = path.with_name("x.h5.masks")
    deadline = time.monotonic() + 60
    while len(list(parts.glob("[!.]*.npz"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if parts.exists():
        assert path.read_bytes() == before
    result = run(path)
    assert result.exit_code == 0, result.output
    with PairsFile(path) as pairs:
        assert pairs.scenes[0].masked == 12
        assert pairs.scenes[0].count == 12


def test_worker_processes_give_the_same_masks(tmp_path, rng):
    write_pairs(tmp_path / "one.h5", rng, 2)
    (tmp_path / "two.h5").write_bytes((tmp_path / "one.h5").read_bytes())
    mask_pairs_file(tmp_path / "one.h5", MaskSettings(), workers=1)
    mask_pairs_file(tmp_path / "two.h5", MaskSettings(), workers=2)
    with PairsFile(tmp_path / "one.h5") as one, PairsFile(tmp_path / "two.h5") as two:
        for index in range(2):
            np.testing.assert_array_equal(one.read("s", index).mask, two.read("s", index).mask)
