from pathlib import Path

import pytest

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings, load_settings, read_yaml


class Optics(Settings):
    blur_px: float = 1.5


class Rig(Settings):
    width: int = 64
    name: str = "rig"
    optics: Optics = Optics()


def test_every_problem_is_named_in_one_line():
    with pytest.raises(LocalblurError) as caught:
        load_settings(Rig, overrides=["width=wide", "optics.blur_pz=2", "colour=red"])
    message = str(caught.value)
    assert "\n" not in message
    for part in ("width", "'wide'", "optics.blur_pz", "colour"):
        assert part in message


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "1e999"])
def test_a_number_that_is_not_finite_is_one_line_that_names_it(value):
    with pytest.raises(LocalblurError, match=r"^Rig: optics\.blur_px: ") as caught:
        load_settings(Rig, overrides=[f"optics.blur_px={value}"])
    assert "finite" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["width", "=3", "optics..blur_px=3", ".=3"])
def test_a_malformed_override_is_named(override):
    with pytest.raises(LocalblurError, match="--set needs"):
        load_settings(Rig, overrides=[override])


def test_an_override_that_is_no_yaml_is_named():
    with pytest.raises(LocalblurError, match="not valid YAML"):
        load_settings(Rig, overrides=["name=[1"])


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "a: [1", "just text"])
def test_a_config_that_is_no_mapping_is_named(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(LocalblurError, match=r"bad\.yaml") as caught:
        load_settings(Rig, path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_config_is_named(tmp_path):
    with pytest.raises(LocalblurError, match="cannot read settings"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(LocalblurError, match="cannot read settings"):
        read_yaml(tmp_path / "binary.yaml")


def test_yaml_cannot_run_code(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['touch evil']\n")
    with pytest.raises(LocalblurError, match="cannot read settings"):
        load_settings(Rig, path)


def test_the_later_source_wins_and_nested_values_merge(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("width: 100\noptics:\n  blur_px: 2.0\n")
    values = {"name": "recipe", "width": 50, "optics": {"blur_px": 1.0}}
    assert load_settings(Rig, values=values) == Rig(width=50, name="recipe", optics=Optics(blur_px=1.0))
    assert load_settings(Rig, path, values=values) == Rig(width=100, name="recipe", optics=Optics(blur_px=2.0))
    resolved = load_settings(Rig, path, ["optics.blur_px=3", "width=7", "width=8"], values)
    assert resolved == Rig(width=8, name="recipe", optics=Optics(blur_px=3.0))
    assert values == {"name": "recipe", "width": 50, "optics": {"blur_px": 1.0}}


def test_an_empty_config_means_defaults(tmp_path: Path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(Rig, tmp_path / "empty.yaml") == Rig()


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Rig().width = 3  # type: ignore[misc]


def test_all_overrides_that_cannot_be_read_are_named_at_once():
    with pytest.raises(LocalblurError, match=r"got 'first'; .*'b=\[': the value is not valid YAML"):
        load_settings(Rig, overrides=["first", "width=1", "b=["])
