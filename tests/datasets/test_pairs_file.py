import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.datasets.pair import Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.storage.check import find_damage
from localblur.datasets.store import MasksWriter, PairsWriter, StoreHeader


@pytest.fixture
def path(tmp_path, make_pair):
    head = StoreHeader(
        encoding="srgb",
        bit_depth=8,
        creator="localblur 0.1.0 align-dataset",
        source="recordings/monday",
        licence="CC BY 4.0",
        settings={"seed": 3, "refine": {"method": "affine"}},
    )
    reasons = ["misaligned; too dark", "misaligned", ""]
    with PairsWriter(tmp_path / "a.h5", head) as writer:
        writer.set_calibration({"rig": {"field": np.zeros(3)}})
        for number, verdict in enumerate(Verdict):
            reason = reasons[number]
            writer.add(make_pair("street", f"{number}", verdict=verdict, reasons=reason, size=(140, 150)), "train")
        writer.add(make_pair("kitchen", masked=False, exposure_long_ms=float("nan")), "test")
    return writer.path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# --- bad input ---


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_pairs_file_is_one_line_and_1(tmp_path, command):
    (tmp_path / "text.h5").write_text("no")
    for name, complaint in (("none.h5", "does not exist"), ("text.h5", "not an HDF5 file"), (".", "is a folder")):
        result = run(command, tmp_path / name)
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""


@pytest.mark.parametrize("command", ["inspect", "verify", "no-such-command"])
def test_nothing_to_look_at_is_wrong_usage(command):
    assert run(command).exit_code == 2


def change(path, what):
    with h5py.File(path, "r+") as file:
        scene = file["scenes/street"]
        row = scene["pairs"][1]
        if what in ("blurred", "sharp", "mask"):
            scene[what][1, 100, 100] ^= 1
        elif what == "blur_cells":
            scene[what][1, 3, 3] += 1
        elif what == "valid box":
            row["valid_box"] = (0, 0, 141, 150)
        elif what == "exposure":
            row["exposure_long_ms"] = -1.0
        elif what == "verdict":
            row["verdict"] = b"perhaps"
        elif what == "quality":
            row["quality"] = b"{"
        elif what == "are called 0":
            row["name"] = b"0"
        scene["pairs"][1] = row


@pytest.mark.parametrize(
    "what", ["blurred", "sharp", "mask", "blur_cells", "valid box", "exposure", "verdict", "quality", "are called 0"]
)
def test_verify_finds_every_kind_of_damage(path, what):
    change(path, what)
    result = run("verify", path)
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert f"{path}: 4 pairs, 1 problem\n" in result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"{path}: street")]
    assert what in line or "damaged" in line


def test_verify_finds_a_chunk_that_cannot_be_read_and_goes_on(path):
    with h5py.File(path) as file:
        offset = file["scenes/street/sharp"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 500] = bytes(500)
    path.write_bytes(content)
    change(path, "valid box")
    problems = find_damage(path)
    assert len(problems) == 2
    assert "a.h5 is damaged or incomplete" in problems[0]


def test_many_problems_are_counted_not_all_shown(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair(name=f"{n}", size=(8, 8)) for n in range(60)]})
    with h5py.File(path, "r+") as file:
        file["scenes/s1/blurred"][:, 0, 0] ^= 1
    result = run("verify", path)
    assert result.exit_code == 1
    assert "and 10 more problems" in result.stderr
    assert sum("differs from its checksum" in line for line in result.stderr.splitlines()) == 50


# --- good files ---


def test_verify_says_that_a_good_file_is_intact(path):
    result = run("verify", path, path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{path}: 4 pairs, intact"] * 2


def test_inspect_tells_a_person_what_is_in_the_file(path):
    with MasksWriter(path, {"method": "pair"}):
        pass
    result = run("inspect", path)
    assert result.exit_code == 0
    text = result.stdout
    for fact in (
        "schema version 1",
        "by localblur 0.1.0 align-dataset",
        "recordings/monday",
        "CC BY 4.0",
        " % of its pixels",
        "90x70, 150x140, 8-bit, sRGB-coded",
        "cite        not stated",
        "4 in 2 scenes",
        "3 of 4; blurred area",
        "2 accept, 1 reject, 1 undecided",
        "2 x misaligned, 1 x too dark",
        "20 ms blurred, 1.25 ms sharp",
        "calibration rig",
        "method: affine",
        "method: pair",
    ):
        assert fact in text, fact
    rows = [line.split() for line in text.splitlines()]
    assert ["train", "1", "3", "3", "1"] in rows
    assert ["val", "0", "0", "0", "0"] in rows
    assert ["test", "1", "1", "0", "0"] in rows
    assert ["street", "train", "150", "x", "140", "3", "3", "1", "1", "1"] in rows
    assert ["kitchen", "test", "90", "x", "70", "1", "0", "1", "0", "0"] in rows


def test_inspect_names_whom_to_cite_and_bears_settings_of_any_form(tmp_path, make_pair, make_file, header):
    merged = [{"settings": {"citation": "A. Author, 2020"}}, {"settings": None}, "x", {"settings": {"citation": "B"}}]
    for number, (settings, told) in enumerate(
        [({"merged": merged}, "A. Author, 2020; B"), ({"merged": 3}, "not stated")]
    ):
        path = tmp_path / f"{number}.h5"
        make_file(path, {"train": [make_pair()]}, header.model_copy(update={"settings": settings}))
        result = run("inspect", path)
        assert result.exit_code == 0
        assert any(line.split(maxsplit=1) == ["cite", told] for line in result.stdout.splitlines()), result.stdout


def test_inspect_can_be_short(path):
    text = run("inspect", path, "--no-scenes", "--no-settings").stdout
    assert "4 in 2 scenes" in text
    assert "street" not in text
    assert "affine" not in text


def test_help_shows_examples():
    assert "pairs-file inspect pairs.h5" in run("--help").stdout
    assert "pairs-file verify pairs.h5" in run("verify", "--help").stdout
