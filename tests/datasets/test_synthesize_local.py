import errno
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from localblur.common.settings import load_settings
from localblur.datasets.images import srgb_decode, write_image
from localblur.datasets.local import synthesis as local_synthesis
from localblur.datasets.local.pairs import LocalSynthesisSettings, pair_shake
from localblur.datasets.local.scenes import make_scenes, photograph_background
from localblur.datasets.pair import Pair, binary_mask
from localblur.datasets.scenes.trajectories import blur_uniformly, rasterise
from localblur.datasets.store import PairsFile
from localblur.datasets.synthesize_local import main

SMALL = ("--size", "96x80", "--workers", "1")


def photograph(path: Path, seed: int, size: tuple[int, int] = (120, 150)) -> Path:
    """Smooth colours with a bright blob that GrabCut finds."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (*size, 3)).astype(np.float32), (0, 0), 3.0)
    image = 90 + 4 * (image - image.mean())
    cv2.ellipse(image, (size[1] // 2, size[0] // 2), (30, 22), 15 * seed, 0, 360, (230, 200, 40), -1)
    write_image(path, np.clip(image, 0, 255).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        photograph(folder / f"photo{seed}.png", seed)
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def contents(path: Path) -> dict[str, Pair]:
    with PairsFile(path) as pairs:
        return {
            f"{entry.split}/{entry.name}/{i}": pairs.read(entry.name, i)
            for entry in pairs.scenes
            for i in range(entry.count)
        }


def assert_same(one: dict[str, Pair], other: dict[str, Pair]) -> None:
    assert list(one) == list(other)
    for key, pair in one.items():
        np.testing.assert_array_equal(pair.blurred, other[key].blurred)
        np.testing.assert_array_equal(pair.sharp, other[key].sharp)
        np.testing.assert_array_equal(pair.mask, other[key].mask)
        assert pair.info.name == other[key].info.name and pair.info.quality == other[key].info.quality


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{empty}",), 1, "no picture in"),
        (("{tmp}/nowhere",), 1, "no folder"),
        (("{photos}", "--size", "900x900"), 1, "none of 4 photographs can be used"),
        (("{photos}", "--size", "many"), 2, "is not a size like 512x512"),
        (("{photos}", "--blur-length", "long"), 2, "neither a length in px"),
        (("{photos}", "--blur-length", "9..3"), 1, "blur.*blur_px must be a range"),
        (("--masks", "{photos}"), 1, "--masks needs the pictures"),
        (("{photos}", "--masks", "{empty}"), 1, "no picture in"),
        (("{photos}", "--noise", "much"), 1, "camera noise 'much'"),
        (("{photos}", "--set", "blur.objects=[0,1]"), 1, "objects must be a range"),
        (("--mode", "global", "--size", "64x64", "--blur-length", "5..80"), 1, "reaches to 80 px"),
        (("{photos}", "--split", "train=2"), 1, "--split"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, photos: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [a.format(empty=tmp_path / "empty", tmp=tmp_path, photos=photos) for a in arguments]
    result = call(*SMALL, *filled, "-o", tmp_path / "x.h5")
    assert result.exit_code == code
    assert re.search(message, result.output), result.output
    assert code == 2 or result.output.count("\n") == 1
    assert not (tmp_path / "x.h5").exists()


def test_a_photograph_is_never_overwritten(tmp_path: Path) -> None:
    picture = photograph(tmp_path / "one.png", 1)
    before = picture.read_bytes()
    result = call(picture, *SMALL, "--overwrite", "-o", picture)
    assert result.exit_code == 1 and "ends in .h5" in result.output
    assert picture.read_bytes() == before


def test_damaged_and_small_photographs_are_left_out_and_told(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "mixed"
    photograph(folder / "good.png", 1)
    photograph(folder / "small.png", 2, (60, 70))
    (folder / "broken.jpg").write_bytes((photos / "photo1.png").read_bytes()[:400])
    result = call(folder, *SMALL, "--count", 2, "--no-grabcut", "-o", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert "left out: cannot decode image" in result.output and "small.png is 70x60, smaller than" in result.output
    assert [key.split("/")[1] for key in contents(tmp_path / "x.h5")] == ["good", "good"]
    for name, remedy in (("small.png", "take a smaller --size"), ("broken.jpg", "give photographs")):
        result = call(folder / name, *SMALL, "-o", tmp_path / "y.h5")
        assert result.exit_code == 1 and result.output.rstrip().endswith(f"; {remedy}")


def test_a_mask_of_the_wrong_size_is_told(tmp_path: Path, photos: Path) -> None:
    masks = tmp_path / "masks"
    write_image(masks / "photo0.png", np.full((10, 10), 255, np.uint8))
    result = call(photos, *SMALL, "--count", 4, "--masks", masks, "-o", tmp_path / "x.h5")
    assert result.exit_code == 3 and "photo0.png: the mask is 10x10 but the photograph is 150x120" in result.output


def test_damaged_pictures_of_objects_are_told_and_not_taken_for_empty(tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    photograph(objects / "good.png", 1)
    write_image(objects / "even.png", np.full((80, 100, 3), 90, np.uint8))
    (objects / "broken.png").write_bytes(b"nothing")
    result = call(*SMALL, "--objects", objects, "--count", 1, "-o", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert "in 1 photographs no object was found" in result.output and "left out: cannot decode image" in result.output


def test_too_little_space_is_told_before_anything_is_made(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    result = call(photos, "--size", "100x100", "--count", 10**6, "-o", tmp_path / "x.h5", "--workers", 1)
    assert result.exit_code == 1 and "1000000 pairs needs about" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_the_run_continues_later(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (photos, *SMALL, "--count", 6, "--no-grabcut", "-o")
    assert call(*arguments, tmp_path / "whole.h5").exit_code == 0
    made = []
    honest = local_synthesis.write_local_pair

    def filling(task: local_synthesis.LocalTask) -> Path:
        made.append(task.number)
        if len(made) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(task.parts))
        return honest(task)

    monkeypatch.setattr(local_synthesis, "write_local_pair", filling)
    stopped = call(*arguments, tmp_path / "x.h5")
    assert stopped.exit_code == 1 and "the disk is full" in stopped.output
    assert not (tmp_path / "x.h5").exists()
    with monkeypatch.context() as newer:
        newer.setattr(local_synthesis, "PLANNING_VERSION", local_synthesis.PLANNING_VERSION + 1)
        refused = call(*arguments, tmp_path / "x.h5")
    assert refused.exit_code == 1 and "another version of the program began it" in refused.output
    assert len(refused.output.splitlines()) == 1 and len(made) == 4
    continued = call(*arguments, tmp_path / "x.h5")
    assert continued.exit_code == 0 and sorted(made) == [0, 1, 2, 3, 3, 4, 5]
    assert_same(contents(tmp_path / "x.h5"), contents(tmp_path / "whole.h5"))


def test_an_existing_file_is_not_replaced_without_being_told(tmp_path: Path) -> None:
    output = tmp_path / "x.h5"
    assert call(*SMALL, "--count", 1, "-o", output).exit_code == 0
    refused = call(*SMALL, "--count", 1, "--seed", 3, "-o", output)
    assert refused.exit_code == 1 and "exists already" in refused.output
    assert call(*SMALL, "--count", 1, "--seed", 3, "-o", output, "--overwrite").exit_code == 0


def test_pairs_masks_splits_and_settings_are_stored(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "x.h5"
    result = call(photos, *SMALL, "--count", 10, "--seed", 5, "--preview", "-o", output, "--realism")
    assert result.exit_code == 0, result.output
    assert "10 pairs in 4 scenes" in result.output
    stored = contents(output)
    assert {pair.blurred.shape for pair in stored.values()} == {(80, 96, 3)}
    with PairsFile(output) as pairs:
        assert pairs.header.settings["seed"] == 5 and pairs.header.settings["realism"]["mosaic"] is True
        assert {entry.split for entry in pairs.scenes} == {"train", "val", "test"}
    for pair in stored.values():
        assert pair.mask is not None
        assert pair.info.quality["blurred_share"] == pytest.approx(binary_mask(pair.mask).mean())
        assert pair.info.quality["full_well_e"] > 0 and pair.info.quality["travel_px"] >= 0
    assert len(list((tmp_path / "x.h5.cutouts").glob("*.png"))) >= 2
    assert (tmp_path / "x.preview.png").stat().st_size > 1000


def test_what_is_not_covered_is_the_same_in_both_pictures(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "x.h5"
    call(photos, *SMALL, "--count", 12, "--no-grabcut", "--set", "blur.negative=0.3", "-o", output)
    moved = 0
    for pair in contents(output).values():
        assert pair.mask is not None
        np.testing.assert_array_equal(pair.blurred[pair.mask == 0], pair.sharp[pair.mask == 0])
        moved += bool(np.abs(pair.blurred.astype(int) - pair.sharp)[pair.mask >= 128].sum() > 0)
    assert 4 <= moved < 12


def test_the_file_depends_on_the_seed_and_not_on_the_workers(tmp_path: Path, photos: Path) -> None:
    arguments = (photos, "--size", "96x80", "--count", 5, "--realism", "--seed")
    for name, seed, workers in (("one", 1, 1), ("two", 1, 2), ("other", 2, 1)):
        result = call(*arguments, seed, "-o", tmp_path / f"{name}.h5", "--workers", workers)
        assert result.exit_code == 0, result.output
    one = contents(tmp_path / "one.h5")
    assert_same(one, contents(tmp_path / "two.h5"))
    other = contents(tmp_path / "other.h5")
    assert any(not np.array_equal(a.blurred, b.blurred) for a, b in zip(one.values(), other.values(), strict=True))


def test_objects_come_from_a_folder_with_alpha(tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    rgba = np.zeros((60, 60, 4), np.uint8)
    cv2.circle(rgba, (30, 30), 25, (255, 0, 255, 255), -1)
    for name in "abcdefghij":
        cv2.imwrite(str(objects / f"{name}.png"), rgba)
    result = call(
        *SMALL, "--objects", objects, "--count", 4, "-o", tmp_path / "x.h5",
        "--set", "cutout_share=1", "--set", "blur.negative=1", "--set", "pairs_per_scene=4", "--split", "train=1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for pair in contents(tmp_path / "x.h5").values():
        red, green, blue = np.moveaxis(pair.sharp.astype(int), 2, 0)
        assert ((red > 150) & (blue > 150) & (green < 60)).sum() > 30


def test_global_blur_is_the_kernel_over_the_sharp_picture(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "x.h5"
    result = call(photos, *SMALL, "--mode", "global", "--count", 3, "--blur-length", "8..16", "-o", output)
    assert result.exit_code == 0, result.output
    with PairsFile(output) as pairs:
        settings = LocalSynthesisSettings.model_validate(pairs.header.settings)
    for pair in contents(output).values():
        assert pair.mask is not None and (pair.mask == 255).all()
        assert 8 <= pair.info.quality["travel_px"] <= 16
        kernel = rasterise(pair_shake(settings, int(pair.info.quality["number"])))
        again = blur_uniformly(srgb_decode(pair.sharp / 255), kernel)
        inner = slice(kernel.shape[0], -kernel.shape[0])
        difference = again[inner, inner] - srgb_decode(pair.blurred / 255)[inner, inner]
        assert np.abs(difference).max() < 0.012


def test_shaken_pairs_of_a_scene_show_the_same_procedural_background(tmp_path: Path) -> None:
    output = tmp_path / "x.h5"
    result = call("--size", "128x128", "--workers", 1, "--mode", "global", "--count", 6, "--blur-length", "3..12",
                  "--set", "pairs_per_scene=3", "--split", "train=1", "-o", output)  # fmt: skip
    assert result.exit_code == 0, result.output
    by_scene: dict[str, list[np.ndarray]] = {}
    for key, pair in contents(output).items():
        by_scene.setdefault(key.split("/")[1], []).append(pair.sharp)
    assert [len(sharps) for sharps in by_scene.values()] == [3, 3]
    one, other = by_scene.values()
    for sharps in (one, other):
        for sharp in sharps[1:]:
            assert overlap(sharps[0], sharp) > 0.99
    assert overlap(one[0], other[0]) < 0.9


def overlap(whole: np.ndarray, part: np.ndarray) -> float:
    """The best match of a part of one picture anywhere in the other: 1 if it is there."""
    side = 24
    corners = [
        (y, x) for y in range(0, part.shape[0] - side + 1, side) for x in range(0, part.shape[1] - side + 1, side)
    ]
    return max(
        float(cv2.matchTemplate(whole, part[y : y + side, x : x + side], cv2.TM_CCOEFF_NORMED).max())
        for y, x in corners
    )


def test_noise_alone_switches_the_other_stages_off(tmp_path: Path) -> None:
    output = tmp_path / "x.h5"
    assert call(*SMALL, "--count", 1, "--noise", "500,3", "--set", "blur.negative=1", "-o", output).exit_code == 0
    with PairsFile(output) as pairs:
        realism = pairs.header.settings["realism"]
    assert realism["camera"] == {"full_well_e": 500.0, "read_noise_e": 3.0}
    assert not (realism["mosaic"] or realism["white_balance"] or realism["saturation"])
    (pair,) = contents(output).values()
    light = srgb_decode(pair.sharp / 255)
    noise = srgb_decode(pair.blurred / 255) - light
    middle = (light > 0.02) & (light < 0.8)
    expected = np.sqrt((light / 500 + (3 / 500) ** 2)[middle].mean())
    assert noise[middle].std() == pytest.approx(expected, rel=0.1)


def test_a_dry_run_makes_nothing(tmp_path: Path, photos: Path) -> None:
    result = call(photos, *SMALL, "--count", 9, "--dry-run", "-o", tmp_path / "x.h5")
    assert result.exit_code == 0 and "9 pairs of 96x80 from 4 photographs" in result.output
    assert list(tmp_path.iterdir()) == []


def test_pairs_are_divided_evenly_and_names_never_clash() -> None:
    scenes = make_scenes([Path("a/x.png"), Path("b/x.jpg"), Path("c:d.png")], 8, 1)
    assert [scene.name for scene in scenes] == ["x", "x-2", "c_d"]
    assert [list(scene.pairs) for scene in scenes] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [len(scene.pairs) for scene in make_scenes([], 10, 4)] == [4, 3, 3]


@pytest.mark.parametrize("margin", [0, 12, 60])
def test_a_background_has_the_size_asked_for_and_the_photographs_light(photos: Path, margin: int) -> None:
    for seed in range(3):
        cut = photograph_background(photos / "photo2.png", np.random.default_rng(seed), 96, 80, margin)
        assert cut.shape == (80 + 2 * margin, 96 + 2 * margin, 3) and cut.dtype == np.float32
        assert cut.min() > 0 and cut.max() <= 1


def test_settings_of_a_file_make_the_same_settings() -> None:
    settings = load_settings(LocalSynthesisSettings, None, ["realism={}", "grabcut=null"])
    assert LocalSynthesisSettings.model_validate(settings.model_dump(mode="json")) == settings
