"""`deblur` as a user calls it: pictures of every kind, videos, seams, other models."""

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch
from click.testing import CliRunner
from deblur_calls import deblur, one_error, save_random_model, smooth

from localblur.datasets.images import read_channels, read_image, write_image
from localblur.training.checkpoint import WEIGHTS_NAME, save_model
from localblur.training.deblur import main
from localblur.training.inference.model_skipping import store_skipping
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.table import NETWORKS


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (37, 50)])
def test_size_kind_and_depth_are_kept(model, tmp_path, rng, suffix, height, width):
    depths = [np.uint8, np.uint16] if suffix in (".png", ".tif") else [np.uint8]
    for dtype in depths:
        path = tmp_path / "in" / f"{np.dtype(dtype).name}{suffix}"
        write_image(path, smooth(rng, height, width, dtype))
    result = deblur(tmp_path / "in", "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for dtype in depths:
        restored = read_channels(tmp_path / "out" / f"{np.dtype(dtype).name}{suffix}")
        assert restored.shape == (height, width, 3)
        assert restored.dtype == dtype


def test_sixteen_bits_are_not_rounded_to_eight(model, tmp_path, rng):
    path = tmp_path / "deep.png"
    write_image(path, smooth(rng, 40, 40, np.uint16))
    deblur(path, "--model", model, "-o", tmp_path / "out", "--precision", "fp32", "--dense")
    assert len(np.unique(read_image(tmp_path / "out" / "deep.png"))) > 1000


def test_gray_stays_gray_and_alpha_is_kept(model, tmp_path, rng):
    gray = smooth(rng, 24, 30)[..., 0]
    write_image(tmp_path / "in" / "gray.png", gray)
    rgba = np.dstack([smooth(rng, 24, 30), gray])
    tifffile.imwrite(tmp_path / "in" / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    cv2.imwrite(str(tmp_path / "in" / "rgba8.png"), rgba)
    result = deblur(tmp_path / "in", "--model", model, "-o", tmp_path / "out", "--dense")
    assert result.exit_code == 0, result.output
    assert read_channels(tmp_path / "out" / "gray.png").shape == (24, 30)
    for name in ("rgba.tif", "rgba8.png"):
        restored = read_channels(tmp_path / "out" / name)
        np.testing.assert_array_equal(restored[..., 3], gray)
        assert np.abs(restored[..., :3].astype(int) - read_image(tmp_path / "in" / name)).max() > 2


@pytest.fixture
def phone(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A picture of 20x40 pixels that its EXIF data turns to 40x20."""
    encoded = cv2.imencode(".jpg", smooth(rng, 20, 40))[1].tobytes()
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + orientation + bytes(4)
    path = tmp_path / "phone.jpg"
    path.write_bytes(encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + encoded[2:])
    return path


def test_the_gate_and_the_comparison_of_a_phone_picture_are_upright(model, phone, tmp_path):
    out, gates = tmp_path / "out", tmp_path / "gates"
    result = deblur(phone, "--model", model, "-o", out, "--gate-output", gates, "--compare", "--dense")
    assert result.exit_code == 0, result.output
    assert read_channels(gates / "phone.png").shape == (40, 20)
    strip = read_image(out / "phone_compare.png")
    np.testing.assert_array_equal(strip[:, :20], read_image(phone))
    assert strip.shape == (40, 48, 3)
    assert np.abs(strip[:, 28:].astype(int) - read_image(out / "phone.jpg")).mean() < 3


def test_the_orientation_of_a_phone_picture_is_kept(model, phone, tmp_path):
    assert deblur(phone, "--model", model, "-o", tmp_path / "out").exit_code == 0
    restored = tmp_path / "out" / "phone.jpg"
    assert read_image(restored).shape == (40, 20, 3)  # as it is shown
    assert cv2.imread(str(restored), cv2.IMREAD_UNCHANGED).shape == (20, 40, 3)  # as it is stored


def test_gate_and_comparison_are_written_on_request(model, photo, tmp_path):
    gates = tmp_path / "gates"
    result = deblur(photo, "--model", model, "-o", tmp_path / "out", "--gate-output", gates, "--compare", "--dense")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    assert read_channels(gates / "photo.png").shape == (37, 50)
    strip = read_image(out / "photo_compare.png")
    np.testing.assert_array_equal(strip[:, :50], read_image(photo))
    np.testing.assert_array_equal(strip[:, 58:], read_image(out / "photo.png"))


def test_a_list_on_standard_input(model, photo, tmp_path):
    arguments = ["-", "--model", str(model), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments, input=f"{photo}\n\n")
    assert "1 of 1 pictures" in result.stdout
    assert "lists no pictures" in one_error(CliRunner().invoke(main, arguments, input="\n"))


def test_what_a_list_names_in_vain_costs_nothing_else(model, photo, tmp_path):
    arguments = ["-", "--model", str(model), "-o", str(tmp_path / "out")]
    (photo.parent / "notes.py").write_text("")
    (photo.parent / "IMG.HEIC").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    others = [photo.parent / "notes.py", photo.parent / "gone.png", photo.parent / "IMG.HEIC", tmp_path / "empty"]
    result = CliRunner().invoke(main, arguments, input="\r\n".join(f"\ufeff{path}" for path in (photo, *others)))
    assert result.exit_code == 3, result.output
    assert "1 of 5 pictures restored" in result.stdout
    for words in ("notes.py is not a picture", "no such picture or folder: ", ".HEIC is not read; save it as", "empty"):
        assert words in result.stderr
    assert "lists no pictures" in CliRunner().invoke(main, [*arguments, "--overwrite"], input="gone.png\n").stderr


def test_a_closed_gate_returns_the_picture_bit_for_bit_and_an_open_one_does_not(tmp_path, rng):
    path = tmp_path / "photo.png"
    write_image(path, smooth(rng, 300, 400))
    for bias, same in ((-20.0, True), (20.0, False)):
        heads = {"feat_extract__5__main__0__weight": 0.0, "ConvsOut__0__main__0__weight": 0.0}  # finest, coarsest
        model = save_random_model(tmp_path / f"model{same}", **heads)
        set_head(model, torch.tensor([bias, 0.1, 0.1, 0.1]))
        out = tmp_path / f"out{same}"
        assert deblur(path, "--model", model, "-o", out).exit_code == 0
        assert np.array_equal(read_image(out / "photo.png"), read_image(path)) == same
        # 0.1 comes through the gate's lower clamp
        assert deblur(path, "--model", model, "-o", out, "--dense", "--overwrite").exit_code == 0
        assert not np.array_equal(read_image(out / "photo.png"), read_image(path))


def set_head(folder: Path, bias: torch.Tensor) -> None:
    with safetensors.safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
        header = file.metadata()
    weights = safetensors.torch.load_file(folder / WEIGHTS_NAME)
    weights |= {"feat_extract.5.main.0.bias": bias, "ConvsOut.0.main.0.bias": bias.clone()}
    safetensors.torch.save_file(weights, folder / WEIGHTS_NAME, metadata=header)


def test_a_video_beside_a_picture(model, photo, tmp_path, rng):
    clip = photo.parent / "clip.mkv"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(smooth(rng, 48, 64), format="rgb24")))
        output.mux(stream.encode())
    (photo.parent / "torn.mp4").write_bytes(b"nothing")
    result = deblur(
        photo.parent, "--model", model, "-o", tmp_path / "out", "--compare", "--gate-output", tmp_path / "g"
    )
    assert result.exit_code == 3, result.output
    assert "2 of 3 pictures restored" in result.stdout
    assert "torn.mp4 as a video" in result.stderr
    assert "--gate-output and --compare are for pictures: none is written for clip.mkv, torn.mp4" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mp4", "photo.png", "photo_compare.png"]
    with av.open(str(tmp_path / "out" / "clip.mp4")) as container:
        assert [frame.width for frame in container.decode(video=0)] == [64, 64, 64]


def test_eight_versions_and_bytes_change_little(model, photo, tmp_path):
    results = {}
    for name, extra in (("once", []), ("eight", ["--self-ensemble"]), ("bytes", ["--precision", "int8"])):
        assert deblur(photo, "--model", model, "-o", tmp_path / name, "--dense", *extra).exit_code == 0
        results[name] = read_image(tmp_path / name / "photo.png").astype(int)
    for name in ("eight", "bytes"):
        difference = np.abs(results[name] - results["once"])
        assert 0 < difference.mean() < 5


def test_too_little_memory_and_formats_of_another_runtime_are_one_line(model, photo, tmp_path):
    big = tmp_path / "big.png"
    write_image(big, np.zeros((900, 900, 3), np.uint8))
    out = ["-o", tmp_path / "out"]
    assert "allow more --memory" in deblur(big, "--model", model, *out, "--memory", "0.001", "--dense").stderr
    assert "runs an ONNX file" in one_error(deblur(photo, "--model", model, *out, "--runtime", "onnx"))
    (tmp_path / "m.onnx").write_bytes(b"x")
    assert "pass --runtime onnx" in one_error(deblur(photo, "--model", tmp_path / "m.onnx", *out))
    assert "needs a GPU" in one_error(deblur(photo, "--model", model, *out, "--precision", "fp16", "--device", "cpu"))


def test_without_a_residual_the_picture_comes_back_bit_for_bit(tmp_path, rng):
    silent = {"feat_extract__5__main__0__bias": 0.0, "feat_extract__5__main__0__weight": 0.0}
    folder = save_random_model(tmp_path / "model", **silent)
    for dtype in (np.uint8, np.uint16):
        path = tmp_path / "in" / f"{np.dtype(dtype).name}.png"
        write_image(path, smooth(rng, 61, 83, dtype))
        assert deblur(path, "--model", folder, "-o", tmp_path / "out", "--tile", "328", "--dense").exit_code == 0
        np.testing.assert_array_equal(read_image(tmp_path / "out" / path.name), read_image(path))


def test_real_frames_show_no_seam_and_no_colour_shift(shared, model, tmp_path):
    path = shared / "data" / "real_blurred" / "gopro_0.png"
    for tile in ("400", "none"):
        assert deblur(path, "--model", model, "-o", tmp_path / tile, "--tile", tile, "--dense").exit_code == 0
    tiled, whole = (read_image(tmp_path / tile / path.name).astype(int) for tile in ("400", "none"))
    assert np.abs(tiled - whole).max() <= 1
    assert np.abs((tiled - whole).mean(axis=(0, 1))).max() < 0.01


def test_published_weights_need_the_name_of_their_network_and_restore_as_the_folder_does(photo, tmp_path):
    torch.manual_seed(0)
    module = NETWORKS["tiny"]().eval()
    file = tmp_path / "tiny.pth"
    torch.save({"params": {f"module.{name}": value for name, value in module.state_dict().items()}}, file)
    out = tmp_path / "out"
    assert "name it with --network: lbag," in one_error(deblur(photo, "--model", file, "-o", out))
    assert "another network" in one_error(deblur(photo, "--model", file, "--network", "mimo-unet", "-o", out))
    assert "give that with --model" in one_error(deblur(photo, "--network", "tiny", "-o", out))
    result = deblur(photo, "--model", file, "--network", "tiny", "-o", out)
    assert result.exit_code == 0, result.output
    save_model(tmp_path / "folder", "tiny", {}, module, {}, {}, "none")
    assert deblur(photo, "--model", tmp_path / "folder", "-o", tmp_path / "same").exit_code == 0
    np.testing.assert_array_equal(read_image(out / photo.name), read_image(tmp_path / "same" / photo.name))
    assert "leave out --network" in one_error(
        deblur(photo, "--model", tmp_path / "folder", "--network", "lbag", "-o", tmp_path / "none")
    )


def test_a_network_that_looks_at_the_whole_image_says_what_windows_change(tmp_path, rng):
    torch.manual_seed(0)
    options = {"num_res": 1}
    save_model(tmp_path / "net", "deblurgan", options, NETWORKS["deblurgan"](options), {}, {}, "none")
    write_image(tmp_path / "in" / "tall.png", smooth(rng, 200, 72))
    for tile, told in (("160", True), ("none", False)):
        out = tmp_path / tile
        result = deblur(tmp_path / "in" / "tall.png", "--model", tmp_path / "net", "--tile", tile, "-o", out)
        assert result.exit_code == 0, result.output
        assert ("looks at the whole image at once and was run in windows of 160 px" in result.stderr) == told
    with av.open(str(tmp_path / "in" / "tall.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 72, 200, "yuv420p"
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(smooth(rng, 200, 72), format="rgb24")))
        output.mux(stream.encode())
    result = deblur(tmp_path / "in" / "tall.mp4", "--model", tmp_path / "net", "--tile", 160, "-o", tmp_path / "v")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("tall.mp4: this network looks at the whole image at once") == 1


def test_a_models_own_threshold_is_used_and_the_callers_outranks_it(tmp_path, rng):
    folder = save_random_model(tmp_path / "net")  # its gate is about one half everywhere
    pixels = smooth(rng, 280, 300)
    write_image(tmp_path / "in" / "big.png", pixels)

    def changed(*options: object) -> bool:
        result = deblur(tmp_path / "in" / "big.png", "--model", folder, "-o", tmp_path / "out", "--overwrite", *options)
        assert result.exit_code == 0, result.output
        return bool((read_image(tmp_path / "out" / "big.png") != pixels).any())

    store_skipping(folder, SkipSettings(threshold=0.3, seed_threshold=0.35), {})
    assert changed()
    assert not changed("--threshold", "0.95")
    store_skipping(folder, SkipSettings(threshold=0.3, seed_threshold=0.95), {})
    assert not changed()
    assert changed("--threshold", "0.3")
    store_skipping(folder, SkipSettings(threshold=0.3, seed_threshold=0.35, confirm_threshold=0.95), {})
    assert not changed()
    assert changed("--threshold", "0.3")
