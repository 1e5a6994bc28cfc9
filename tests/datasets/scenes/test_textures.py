from pathlib import Path

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.images import write_image
from localblur.datasets.scenes import photographs, procedural
from localblur.datasets.scenes.textures import KIND_SHARES, TextureSource


def photo(folder: Path, name: str, colour: tuple[int, int, int] = (200, 10, 10), size: int = 40) -> Path:
    write_image(folder / name, np.full((size, size, 3), colour, np.uint8))
    return folder / name


def names_of(split: photographs.Split, count: int) -> list[str]:
    candidates = (f"photo{number}.png" for number in range(1000))
    return [name for name in candidates if photographs.split_of(name) == split][:count]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalblurError, match="no folder of photographs"):
        TextureSource("train", tmp_path / "nowhere")


def test_a_folder_without_a_photograph_of_the_split_says_so(tmp_path: Path) -> None:
    photo(tmp_path, names_of("train", 1)[0])
    assert TextureSource("train", tmp_path).photographs
    with pytest.raises(LocalblurError, match="1 photographs but none falls into the test split"):
        TextureSource("test", tmp_path)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(LocalblurError, match="train or test, got 'val'"):
        TextureSource("val")  # type: ignore[arg-type]


def test_a_damaged_photograph_is_named(tmp_path: Path) -> None:
    name = names_of("train", 1)[0]
    (tmp_path / name).write_bytes(b"not a picture")
    with pytest.raises(LocalblurError, match=name):
        TextureSource("train", tmp_path).texture([0], 20, 20, kind="photograph")


def test_bundled_photographs_exist_and_are_never_shared() -> None:
    train = set(photographs.bundled_photographs("train", frame_filling=False))
    test = set(photographs.bundled_photographs("test", frame_filling=False))
    assert train and test and not train & test
    assert len(train) >= 6 and len(test) >= 5
    # two views of one scene are one scene
    assert {path.name for path in train} >= {"motorcycle_left.png", "motorcycle_right.png"}


def test_a_folder_is_divided_by_name_whatever_else_it_holds(tmp_path: Path) -> None:
    names = names_of("train", 6) + names_of("test", 3)
    for name in names:
        photo(tmp_path, name)
    (tmp_path / "notes.txt").write_text("not a photograph", encoding="utf-8")
    train, test = (set(photographs.folder_photographs(tmp_path, split)) for split in ("train", "test"))
    assert not train & test and {path.name for path in train | test} == set(names)
    for path in sorted(train)[1:]:
        path.unlink()
    assert photographs.folder_photographs(tmp_path, "test") == sorted(test)


def test_about_a_quarter_of_names_is_for_testing() -> None:
    share = np.mean([photographs.split_of(f"IMG_{number:04}.jpg") == "test" for number in range(2000)])
    assert 0.22 < share < 0.28
    assert photographs.split_of("A.PNG") == photographs.split_of("a.png")


@pytest.mark.parametrize("kind", list(KIND_SHARES))
def test_textures_are_linear_light_repeatable_and_of_the_size_asked_for(kind: str) -> None:
    source = TextureSource("train")
    texture = source.texture([5, 1], 70, 90, feature_px=2, kind=kind)  # type: ignore[arg-type]
    assert texture.shape == (70, 90, 3) and texture.dtype == np.float32
    assert texture.min() > 0 and texture.max() <= 1
    assert texture.std() > 0.005
    again = TextureSource("train").texture([5, 1], 70, 90, feature_px=2, kind=kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(texture, again)
    other = source.texture([5, 2], 70, 90, feature_px=2, kind=kind)  # type: ignore[arg-type]
    assert np.abs(texture - other).mean() > 0.005


@pytest.mark.parametrize("kind", ["leaves", "noise", "text", "shapes"])
def test_the_same_key_gives_the_two_splits_different_textures(kind: str) -> None:
    train, test = (TextureSource(split).texture([3], 64, 64, kind=kind) for split in ("train", "test"))  # type: ignore[arg-type]
    assert np.abs(train - test).mean() > 0.01


def test_ones_own_photographs_replace_the_bundled_ones(tmp_path: Path) -> None:
    photo(tmp_path, names_of("test", 1)[0], size=200)
    texture = TextureSource("test", tmp_path).texture([0], 50, 50, kind="photograph")
    assert texture[..., 0].min() > 0.5 and texture[..., 1:].max() < 0.05


def test_a_small_photograph_is_hung_on_a_wall_rather_than_enlarged_or_tiled(tmp_path: Path) -> None:
    photo(tmp_path, names_of("train", 1)[0], colour=(255, 0, 0), size=60)
    picture = TextureSource("train", tmp_path).background([0], 400, 400, kind="photograph")
    red = (picture[..., 0] > 0.9) & (picture[..., 1] < 0.02)
    assert 0.002 < red.mean() < 0.25


def test_noise_has_the_spectrum_of_natural_scenes() -> None:
    field = procedural.fractal_field(np.random.default_rng(0), 256, 256, 1.0, 1.0)
    amplitude = np.abs(np.fft.fft2(field))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    band = (frequency > 0.02) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[band]), np.log(amplitude[band]), 1)[0]
    assert -1.4 < slope < -0.75
