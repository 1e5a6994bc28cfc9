"""Simulated scenes for training and for the fixed test."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.datasets.images import write_image
from localblur.datasets.store import PairsFile
from localblur.training.simulate_scenes import main, split_of
from localblur.training.simulated_scenes import scene_pairs, scene_settings

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def pairs():
    return scene_pairs(scene_settings("test", 3), "test0003", 2, HEIGHT, WIDTH)


def test_pairs_differ_where_the_mask_says_and_hardly_elsewhere(pairs):
    for pair in pairs:
        difference = np.abs(pair.blurred.astype(float) - pair.sharp).mean(axis=2)
        inside = pair.mask > 0
        assert set(np.unique(pair.mask)) == {0, 255}
        assert 0.005 < inside.mean() < 0.6
        # outside there is noise alone
        assert difference[~inside].mean() < 4
        assert difference[inside].mean() > 2 * difference[~inside].mean()
        assert 8 <= pair.info.quality["travel_px"] < 60  # 8 to 40 px of the middle, more where it turns


def test_a_scene_is_a_function_of_textures_seed_and_index(pairs):
    again = scene_pairs(scene_settings("test", 3), "test0003", 1, HEIGHT, WIDTH)[0]
    np.testing.assert_array_equal(again.blurred, pairs[0].blurred)
    np.testing.assert_array_equal(again.mask, pairs[0].mask)
    assert not np.array_equal(pairs[0].blurred, pairs[1].blurred)
    other = scene_pairs(scene_settings("train", 3), "train0003", 1, HEIGHT, WIDTH)[0]
    assert not np.array_equal(other.sharp, pairs[0].sharp)


def test_test_and_training_share_no_texture():
    test, train = (scene_settings(textures, 0).source() for textures in ("test", "train"))
    assert not set(test.photographs) & set(train.photographs)
    assert test.generator([1]).random() != train.generator([1]).random()


def test_a_twelfth_of_the_training_scenes_is_for_validation():
    assert [split_of("train", seed) for seed in range(24)].count("val") == 2
    assert {split_of("test", seed) for seed in range(60)} == {"test"}


def test_the_command_writes_the_scenes_it_is_asked_for(tmp_path):
    output = tmp_path / "scenes.h5"
    result = CliRunner().invoke(main, ["train", "-o", str(output), "--scenes", "2", "--shots", "1", "--workers", "0"])
    assert result.exit_code == 0, result.output
    with PairsFile.open(output) as file:
        assert {scene.name: scene.split for scene in file.scenes} == {"train0000": "val", "train0001": "train"}
        pair = file.read("train0001", 0)
    assert pair.blurred.shape == (288, 384, 3)
    result = CliRunner().invoke(main, ["train", "-o", str(output), "--scenes", "2"])
    assert result.exit_code == 1


def interrupt(monkeypatch, made, limit):
    """Render scenes and note their seeds in `made`; when it holds exactly `limit`, Ctrl-C comes."""

    def some(scene, name, count, height, width):
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(scene.seed)
        return scene_pairs(scene, name, count, HEIGHT, WIDTH)

    monkeypatch.setattr("localblur.training.simulate_scenes.scene_pairs", some)


def test_an_interrupted_call_is_continued_without_doing_anything_again(tmp_path, monkeypatch):
    made = []

    interrupt(monkeypatch, made, 2)
    arguments = ["train", "-o", str(tmp_path / "scenes.h5"), "--scenes", "3", "--shots", "2", "--workers", "0"]
    assert CliRunner().invoke(main, arguments).exit_code == 130
    assert made == [0, 1]
    made[:] = [None]  # one more may be made
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert made == [None, 2]
    with PairsFile.open(tmp_path / "scenes.h5") as file:
        assert [(scene.name, scene.count) for scene in file.scenes] == [(f"train000{seed}", 2) for seed in range(3)]


def write_photographs(folder, seed=0):
    """Without green: what stands in a picture anywhere else is not from here."""
    folder.mkdir(exist_ok=True)
    for index in range(8):
        picture = np.random.default_rng([seed, index]).integers(0, 255, (400, 500, 3), dtype=np.uint8)
        picture[..., 1] = 0
        write_image(folder / f"{index}.png", picture)
    return folder


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_folder_may_be_called_like_a_split(tmp_path, monkeypatch, name):
    folder = write_photographs(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = scene_settings("train", 0, Path(name)).source()
    assert source.photographs and all(path.parent == folder for path in source.photographs)
    assert source.split == "train"


def test_a_relative_folder_is_continued_by_its_whole_path(tmp_path, monkeypatch):
    photos, made = write_photographs(tmp_path / "photos"), []

    interrupt(monkeypatch, made, 1)
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "-o", str(tmp_path / "s.h5"), "--scenes", "2", "--shots", "1", "--workers", "0", "--photos"]
    assert CliRunner().invoke(main, [*arguments, "photos"]).exit_code == 130
    made[:] = [None, None]  # no limit any more
    result = CliRunner().invoke(main, [*arguments, str(photos)])
    assert result.exit_code == 0, result.output
    assert made == [None, None, 1]


def test_an_interrupted_call_does_not_go_on_with_other_photographs_of_the_same_names(tmp_path, monkeypatch):
    photos, made = write_photographs(tmp_path / "photos"), []

    interrupt(monkeypatch, made, 1)
    arguments = ["train", "-o", str(tmp_path / "s.h5"), "--scenes", "2", "--shots", "1", "--workers", "0"]
    arguments += ["--photos", str(photos)]
    assert CliRunner().invoke(main, arguments).exit_code == 130
    write_photographs(photos, seed=1)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "photos" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_photograph_that_cannot_be_read_is_found_before_the_first_scene(tmp_path):
    photos = write_photographs(tmp_path / "photos")
    for path in photos.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    arguments = ["train", "-o", str(tmp_path / "s.h5"), "--photos", str(photos), "--workers", "0"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and ".png" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_photographs_of_ones_own_take_the_place_of_the_bundled_ones(tmp_path):
    photos = write_photographs(tmp_path / "photos")
    output = tmp_path / "scenes.h5"
    arguments = ["train", "-o", str(output), "--scenes", "6", "--shots", "1", "--photos", str(photos), "--workers", "0"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    with PairsFile.open(output) as file:
        assert 0 < file.header.settings["photos"] < 8
        assert file.header.source == "simulated scenes, train textures of photos"
        sharp = [file.read(scene.name, 0).sharp for scene in file.scenes]
        assert [scene.name for scene in file.scenes] == [f"train{seed:04d}" for seed in range(6)]
    green = [float(np.mean((picture[..., 1] < 40) & (picture[..., 0] > 60))) for picture in sharp]
    assert max(green) > 0.4
    bundled = [scene_pairs(scene_settings("train", seed), "x", 1, HEIGHT, WIDTH)[0].sharp for seed in range(6)]
    assert max(float(np.mean((picture[..., 1] < 40) & (picture[..., 0] > 60))) for picture in bundled) < 0.3
    result = CliRunner().invoke(main, ["test", "-o", str(tmp_path / "test.h5"), "--photos", str(photos)])
    assert result.exit_code == 2 and "the test is fixed" in result.output


def test_a_folder_without_photographs_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["train", "-o", str(tmp_path / "scenes.h5"), "--photos", str(tmp_path)])
    assert result.exit_code == 1 and "none falls into the train split" in result.output
    assert not (tmp_path / "scenes.h5").exists()
