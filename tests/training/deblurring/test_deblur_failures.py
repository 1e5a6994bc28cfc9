"""What `deblur` refuses, and what is left when some pictures fail."""

import errno
import json
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
from deblur_calls import deblur, one_error, save_random_model, smooth

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image, write_image
from localblur.training.checkpoint import CARD_NAME, WEIGHTS_NAME
from localblur.training.inference import deblur_run
from localblur.training.inference.picture_files import Picture, read_picture


def test_a_missing_model_folder_is_one_line(photo, tmp_path):
    assert "no model in" in one_error(deblur(photo, "--model", tmp_path / "none", "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_one_line(photo, tmp_path):
    folder = save_random_model(tmp_path / "model")
    weights = folder / WEIGHTS_NAME
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged or truncated" in one_error(deblur(photo, "--model", folder, "-o", tmp_path / "out"))


def test_weights_of_another_network_are_one_line(photo, tmp_path):
    folder = save_random_model(tmp_path / "model")
    path = folder / WEIGHTS_NAME
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])["__metadata__"]
    tensors = safetensors.torch.load_file(path)
    tensors.popitem()
    safetensors.torch.save_file(tensors, path, metadata=header)
    assert "another network" in one_error(deblur(photo, "--model", folder, "-o", tmp_path / "out"))


def test_a_model_of_a_newer_schema_is_one_line(photo, tmp_path):
    folder = save_random_model(tmp_path / "model")
    path = folder / WEIGHTS_NAME
    with safetensors.safe_open(path, framework="pt") as file:
        header = {
            name: text.replace('"schema_version":1', '"schema_version":99') for name, text in file.metadata().items()
        }
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata=header)
    card = folder / CARD_NAME
    card.write_text(card.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    assert "schema version 99" in one_error(deblur(photo, "--model", folder, "-o", tmp_path / "out"))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_an_unreadable_picture_is_an_error(model, tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    result = deblur(path, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"cannot decode image {path}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_missing_inputs_folders_without_pictures_and_other_files_are_refused(model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("hello")
    for path, message in [("gone.png", "no such picture"), ("empty", "no pictures in"), ("notes.txt", "not a picture")]:
        assert message in one_error(deblur(tmp_path / path, "--model", model, "-o", tmp_path / "out"))


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_an_output_inside_a_file_is_refused(model, photo, tmp_path, below):
    (tmp_path / "file").write_text("x")
    message = one_error(deblur(photo, "--model", model, "-o", tmp_path / "file" / below))
    assert f"{tmp_path / 'file'} is a file" in message


def test_an_unwritable_output_is_one_line(model, photo):
    assert "/proc/nowhere" in one_error(deblur(photo, "--model", model, "-o", "/proc/nowhere"))


def test_inputs_are_never_overwritten(model, photo):
    before = photo.read_bytes()
    for force in ([], ["--overwrite"]):
        message = one_error(deblur(photo, "--model", model, "-o", photo.parent, *force))
        assert "is an input and would be overwritten" in message
    assert photo.read_bytes() == before


def test_existing_outputs_are_kept_unless_told_otherwise(model, photo, tmp_path):
    out = tmp_path / "out"
    assert deblur(photo, "--model", model, "-o", out).exit_code == 0
    (out / "photo.png").write_bytes(b"precious")
    assert "exists already" in one_error(deblur(photo, "--model", model, "-o", out))
    assert (out / "photo.png").read_bytes() == b"precious"
    assert deblur(photo, "--model", model, "-o", out, "--overwrite").exit_code == 0
    assert read_image(out / "photo.png").shape == (37, 50, 3)


def test_two_inputs_of_one_name_are_refused(model, photo, tmp_path):
    other = tmp_path / "other" / "photo.png"
    write_image(other, read_image(photo))
    message = one_error(deblur(photo, other, "--model", model, "-o", tmp_path / "out"))
    assert "would all be written to" in message
    assert str(photo) in message
    assert str(other) in message
    write_image(photo.with_suffix(".tif"), read_image(photo))
    gates = tmp_path / "gates"
    message = one_error(deblur(photo.parent, "--gate-output", gates, "--model", model, "-o", tmp_path / "out"))
    assert str(gates / "photo.png") in message


def test_the_same_picture_twice_is_restored_once(model, photo, tmp_path):
    result = deblur(photo, photo.parent, "--model", model, "-o", tmp_path / "out")
    assert "1 of 1 pictures" in result.stdout


@pytest.mark.parametrize("tile", ["0", "-3", "x", "1.5"])
def test_a_senseless_tile_is_a_usage_error(model, photo, tmp_path, tile):
    result = deblur(photo, "--model", model, "-o", tmp_path / "out", f"--tile={tile}")
    assert result.exit_code == 2
    assert "is not a number of pixels, auto or none" in result.stderr


def test_a_model_that_returns_nan_writes_no_picture(photo, tmp_path):
    folder = save_random_model(tmp_path / "model", feat_extract__5__main__0__bias=float("nan"))
    result = deblur(photo, "--model", folder, "-o", tmp_path / "out", "--precision", "fp32")
    assert result.exit_code == 1
    assert "NaN" in result.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_one_corrupt_file_among_many_costs_only_itself(model, photo, tmp_path, rng):
    write_image(photo.parent / "second.png", smooth(rng, 20, 20))
    (photo.parent / "broken.png").write_bytes(photo.read_bytes()[:60])
    result = deblur(photo.parent, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo.png", "second.png"]
    assert "2 of 3 pictures restored" in result.stdout
    assert [line for line in result.stderr.splitlines() if line.startswith("deblur:") and "broken.png" in line]


@pytest.fixture
def three(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder of three pictures, the second with a name of 250 bytes."""
    folder = tmp_path / "three"
    for name in ("a", "写" * 82, "真"):
        write_image(folder / f"{name}.png", smooth(rng, 20, 20))
    return folder


def test_a_long_name_is_restored_as_any_other(model, three, tmp_path):
    result = deblur(three, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "3 of 3 pictures restored" in result.stdout


def test_a_picture_that_the_system_does_not_write_costs_only_itself(model, three, tmp_path):
    # with _compare the name gets too long
    result = deblur(three, "--model", model, "-o", tmp_path / "out", "--compare")
    assert result.exit_code == 3, result.output
    assert "2 of 3 pictures restored" in result.stdout
    (line,) = [line for line in result.stderr.splitlines() if "too long for the file system" in line]
    assert str(three / ("写" * 82)) in line
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.png", "a_compare.png", "真.png", "真_compare.png"}


def test_memory_that_runs_out_costs_only_one_picture(model, three, tmp_path, monkeypatch):
    def scarce(path: Path) -> Picture:
        if path.stem == "a":
            raise MemoryError
        return read_picture(path)

    monkeypatch.setattr(deblur_run, "read_picture", scarce)
    result = deblur(three, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert f"{three / 'a.png'}: not enough memory" in result.stderr


def test_what_failed_is_told_although_the_rest_is_interrupted(model, three, tmp_path, monkeypatch):
    def breaks(path: Path) -> Picture:
        if path.stem == "a":
            raise LocalblurError("too little of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(deblur_run, "read_picture", breaks)
    result = deblur(three, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert f"deblur: {three / 'a.png'}: too little of it" in result.stderr


def test_a_name_that_cannot_hold_a_picture_is_refused_before_the_work(model, tmp_path, rng, monkeypatch):
    rgba = np.dstack([smooth(rng, 24, 30), np.full((24, 30), 99, np.uint8)])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
    monkeypatch.setattr(deblur_run, "restore_one", lambda *_: pytest.fail("restored"))
    result = deblur(tmp_path / "in" / "a.jpg", "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert ".jpg holds no alpha channel, pictures with one are named .png, .webp or .tif" in result.stderr


def test_contradicting_options_are_told_by_their_names(model, photo, tmp_path):
    arguments = (photo, "--model", model, "-o", tmp_path / "out")
    assert "give one of them" in deblur(*arguments, "--dense", "--threshold", 0.3).stderr
    assert "choose another --gate-output" in one_error(deblur(*arguments, "--gate-output", photo))
    onnx = (photo, "-o", tmp_path / "out", "--runtime", "onnx")
    assert "name one with --model" in one_error(deblur(*onnx))
    assert "leave out --compile" in one_error(deblur(*onnx, "--model", tmp_path / "a.onnx", "--compile"))


def test_a_full_disk_ends_the_run_in_one_line(model, three, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = deblur(three, "--model", model, "-o", tmp_path / "out")
    assert "error: the disk is full" in one_error(result)
