"""Exports: what other people's readers find, and that an import gives back what was exported."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from localblur.datasets.exchange import export_run
from localblur.datasets.exchange.exporters import FORMATS
from localblur.datasets.export_dataset import main
from localblur.datasets.images import read_image, read_plane, srgb_encode, write_image
from localblur.datasets.import_dataset import main as import_main
from localblur.datasets.pair import Verdict, binary_mask
from localblur.datasets.storage.edits import EditsWriter
from localblur.datasets.store import PairsFile, StoreHeader

VARIANT = {"gopro": ["--variant", "blur"]}


def run(file, output, kind, *options, workers="0"):
    arguments = [file, "-o", output, "--format", kind, "--workers", workers, *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result, complaint):
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) == 1
    assert complaint in result.stderr


def back(folder, output, kind, *options):
    arguments = [FORMATS[kind].layout, folder, "-o", output, "--workers", "0", *VARIANT.get(kind, []), *options]
    return CliRunner().invoke(import_main, [str(argument) for argument in arguments])


def binary(pair):
    """The pair with its mask as 0 and 255, as masks of published data sets are."""
    return pair if pair.mask is None else replace(pair, mask=np.where(binary_mask(pair.mask), 255, 0).astype(np.uint8))


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    pairs = {
        "train": [binary(make_pair("s1", f"{n:02d}", size=(40, 52))) for n in range(3)]
        + [binary(make_pair("street_2", "000007", size=(30, 30)))],
        "val": [binary(make_pair("s3", "00"))],
        "test": [binary(make_pair("s4", "1")), binary(make_pair("s4", "10"))],
    }
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="lab", licence="CC BY 4.0")
    return make_file(tmp_path / "a.h5", pairs, header)


def content(path, masks=True):
    with PairsFile(path) as pairs:
        found = {}
        for entry in pairs.scenes:
            for index in range(entry.count):
                pair = pairs.read(entry.name, index)
                mask = pair.mask.tobytes() if masks and pair.mask is not None else None
                found[entry.split, entry.name, pair.info.name] = (pair.blurred.tobytes(), pair.sharp.tobytes(), mask)
    return found


# --- bad input ---


def test_bad_input_is_one_line_and_nothing_is_made(tmp_path, path, make_pair, make_file):
    refused(run(tmp_path / "none.h5", tmp_path / "x", "gopro"), "does not exist")
    rejected = make_file(tmp_path / "r.h5", {"train": [make_pair(verdict=Verdict.REJECT)]})
    refused(run(rejected, tmp_path / "x", "gopro"), "no pair of")
    assert run(path, tmp_path / "x", "nonsense").exit_code == 2
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").write_text("precious")
    refused(run(path, tmp_path / "file", "gopro"), "is a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    refused(run(path, tmp_path / "full", "gopro"), "holds other files")
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_names_that_a_reader_cannot_bear_are_refused(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair("sharpness")]})
    refused(
        run(path, tmp_path / "x", "reloblur"),
        "scene name 'sharpness' holds 'sharp', which the reader of reloblur replaces",
    )
    assert run(path, tmp_path / "x", "gopro").exit_code == 0
    for number, (scene, complaint) in enumerate([("clip.MP4", "holds '.'"), ("straße", "is not ASCII")]):
        path = make_file(tmp_path / f"l{number}.h5", {"train": [make_pair(scene)]})
        refused(run(path, tmp_path / "x-lmdb", "lmdb"), complaint)
        assert run(path, tmp_path / f"hub{number}", "imagefolder").exit_code == 0
    path = make_file(tmp_path / "b.h5", {"train": [make_pair("a-b", "c"), make_pair("a", "b-c")]})
    refused(run(path, tmp_path / "y", "input-target"), "would both become train/input/a-b-c.png")


def test_without_lmdb_one_line_says_what_to_install(tmp_path, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    refused(run(path, tmp_path / "x", "lmdb"), "pip install 'localblur[lmdb]'")
    assert not (tmp_path / "x").exists()


# --- round trips ---


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_exported_is_imported_again_without_loss(tmp_path, path, kind):
    result = run(path, tmp_path / "out", kind)
    assert result.exit_code == 0, result.output
    assert "7 pairs, 7 with a mask" in result.stdout
    result = back(tmp_path / "out", tmp_path / "b.h5", kind)
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "b.h5") == content(path)
    again = run(tmp_path / "b.h5", tmp_path / "again", kind)
    assert again.exit_code == 0
    for file in sorted((tmp_path / "out").rglob("*.png")):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path / "out")).read_bytes()


def test_an_imagefolder_keeps_everything_known_about_a_pair(tmp_path, make_pair, make_file):
    members = [
        make_pair("s1", "0", verdict=Verdict.REJECT, reasons="too dark; note: cat", decided_by="kim"),
        make_pair("s1", "1", masked=False, exposure_long_ms=float("nan"), quality={"a": 1.5, "b": float("nan")}),
        make_pair("s1", "2", valid_box=(3, 4, 60, 80)),
    ]
    path = make_file(tmp_path / "a.h5", {"train": members})
    assert run(path, tmp_path / "out", "imagefolder", "--verdict", "any").exit_code == 0
    assert back(tmp_path / "out", tmp_path / "b.h5", "imagefolder").exit_code == 0
    assert content(tmp_path / "b.h5") == content(path)  # soft masks too
    with PairsFile(path) as one, PairsFile(tmp_path / "b.h5") as other:
        assert repr(other.info("s1")) == repr(one.info("s1"))


def test_linear_pictures_are_coded_and_16_bits_kept_if_asked_for(tmp_path, make_pair, make_file):
    pair = make_pair(dtype=np.uint16, size=(30, 30))
    path = make_file(tmp_path / "a.h5", {"train": [pair]}, StoreHeader(encoding="linear", bit_depth=16))
    for depth, kind in ((8, np.uint8), (16, np.uint16)):
        out = tmp_path / str(depth)
        assert run(path, out, "gopro", "--bit-depth", str(depth)).exit_code == 0
        found = read_image(out / "train/s1/blur/00.png")
        assert found.dtype == kind
        expected = srgb_encode(pair.blurred / np.float32(65535)) * (2**depth - 1)
        assert np.abs(found.astype(np.float64) - expected).max() <= 0.51
    assert back(tmp_path / "16", tmp_path / "b.h5", "gopro", "--encoding", "srgb").exit_code == 0
    again = tmp_path / "again"
    assert run(tmp_path / "b.h5", again, "gopro", "--bit-depth", "16").exit_code == 0
    assert (again / "train/s1/blur/00.png").read_bytes() == (tmp_path / "16/train/s1/blur/00.png").read_bytes()


# --- as its readers see it ---


def test_the_published_lbag_reader_finds_every_pair_and_mask(tmp_path, path, monkeypatch):
    """Its three lines: a glob, two replacements; masks are opened with Pillow and any value above 0 is blurred."""
    result = run(path, tmp_path / "out", "reloblur")
    assert result.exit_code == 0
    assert "looks for train and test only: it misses 1 pairs in val" in result.stderr
    monkeypatch.chdir(tmp_path / "out")
    found = {
        split: sorted(file.as_posix() for file in Path().glob(f"dataset/{split}/*/*/*sharp.png"))
        for split in ("train", "test")
    }
    assert {split: len(files) for split, files in found.items()} == {"train": 4, "test": 2}
    assert found["train"][0] == "dataset/train/s1/00/00_sharp.png"
    with PairsFile(path) as pairs:
        for file in [*found["train"], *found["test"]]:
            scene, name = Path(file).parts[2:4]
            pair = pairs.read(scene, pairs.names(scene).index(name))
            np.testing.assert_array_equal(np.asarray(Image.open(file)), pair.sharp)
            np.testing.assert_array_equal(np.asarray(Image.open(file.replace("sharp", "blur"))), pair.blurred)
            mask = np.asarray(Image.open(file.replace("dataset", "masks").replace("_sharp", "")))
            assert mask.ndim == 2
            np.testing.assert_array_equal(mask > 0, binary_mask(pair.mask))


def test_pairs_without_masks_are_left_out_for_lbag_and_told(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair(name="0"), make_pair(name="1", masked=False)]})
    result = run(path, tmp_path / "out", "reloblur")
    assert result.exit_code == 3
    assert "left out: s1/1: it has no mask" in result.stderr
    assert not list((tmp_path / "out").rglob("*/01/*"))
    assert run(path, tmp_path / "x", "input-target").exit_code == 0


def test_soft_masks_become_hard_for_lbag_and_stay_soft_elsewhere(tmp_path, make_pair, make_file):
    pair = make_pair()
    pair.mask[10:20] = 100
    path = make_file(tmp_path / "a.h5", {"train": [pair]})
    run(path, tmp_path / "hard", "reloblur")
    run(path, tmp_path / "soft", "input-target")
    assert set(np.unique(read_plane(tmp_path / "hard/masks/train/s1/00/00.png"))) == {0, 255}
    np.testing.assert_array_equal(read_plane(tmp_path / "soft/train/mask/s1-00.png"), pair.mask)


def test_basicsr_finds_the_same_keys_sizes_and_pngs_in_both_lmdbs(tmp_path, path):
    assert run(path, tmp_path / "out", "lmdb").exit_code == 0
    infos = [(tmp_path / "out/train" / name / "meta_info.txt").read_text() for name in ("input.lmdb", "target.lmdb")]
    assert infos[0] == infos[1]
    assert infos[0].splitlines() == [
        "s1/00.png (40,52,3) 1",
        "s1/01.png (40,52,3) 1",
        "s1/02.png (40,52,3) 1",
        "street_2/000007.png (30,30,3) 1",
    ]
    with lmdb.open(str(tmp_path / "out/train/target.lmdb"), readonly=True, lock=False) as store, store.begin() as read:
        decoded = cv2.imdecode(np.frombuffer(read.get(b"s1/01"), np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(decoded, pairs.read("s1", 1).sharp)


def test_the_card_and_croissant_say_what_is_there(tmp_path, path):
    assert run(path, tmp_path / "hub", "imagefolder").exit_code == 0
    card = (tmp_path / "hub/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    assert "| train | 2 | 4 | 4 |" in card
    assert "Licence: CC BY 4.0" in card
    lines = [json.loads(line) for line in (tmp_path / "hub/train/metadata.jsonl").read_text().splitlines()]
    assert [(line["scene"], line["name"]) for line in lines][:2] == [("s1", "00"), ("s1", "01")]
    for line in lines:
        for role in ("blurred", "sharp", "mask"):
            assert (tmp_path / "hub/train" / line[f"{role}_file_name"]).is_file()
    described = json.loads((tmp_path / "hub/croissant.json").read_text())
    assert described["conformsTo"].endswith("croissant/1.0")
    for item in described["distribution"]:
        if item["@type"] == "cr:FileObject":
            found = (tmp_path / "hub" / item["contentUrl"]).read_bytes()
            assert item["sha256"] == hashlib.sha256(found).hexdigest()
    assert [record["name"] for record in described["recordSet"]] == ["train", "val", "test"]


def test_the_citation_of_an_import_stays_with_the_pairs(tmp_path, path):
    run(path, tmp_path / "out", "reloblur")
    (tmp_path / "out" / "export.json").unlink()  # as published
    back(tmp_path / "out", tmp_path / "b.h5", "reloblur")
    run(tmp_path / "b.h5", tmp_path / "hub", "imagefolder")
    assert "Please cite: H. Li et al." in (tmp_path / "hub/README.md").read_text()
    back(tmp_path / "hub", tmp_path / "c.h5", "imagefolder")
    with PairsFile(tmp_path / "c.h5") as pairs:
        assert pairs.header.settings["citation"].startswith("H. Li et al.")


@pytest.mark.parametrize("kind", ["reloblur", "gopro", "imagefolder"])
def test_an_import_of_an_export_has_the_terms_of_the_pairs_and_not_of_the_layout(tmp_path, path, kind):
    run(path, tmp_path / "out", kind)
    result = back(tmp_path / "out", tmp_path / "b.h5", kind)
    assert "published" not in result.stderr
    with PairsFile(tmp_path / "b.h5") as pairs:
        assert (pairs.header.source, pairs.header.licence) == ("lab", "CC BY 4.0")
        assert "citation" not in pairs.header.settings


def test_the_kinds_of_blurred_pictures_that_are_there_are_named(tmp_path, path):
    run(path, tmp_path / "out", "gopro")
    result = CliRunner().invoke(import_main, ["gopro", str(tmp_path / "out"), "-o", str(tmp_path / "b.h5")])
    refused(result, "1 of 2 kinds")
    assert result.stderr.rstrip().endswith("choose --variant blur")


def test_only_the_valid_box_if_asked_for(tmp_path, make_pair, make_file):
    pair = make_pair(valid_box=(3, 4, 60, 80))
    path = make_file(tmp_path / "a.h5", {"train": [pair]})
    run(path, tmp_path / "out", "gopro", "--crop", "valid")
    np.testing.assert_array_equal(read_image(tmp_path / "out/train/s1/sharp/00.png"), pair.sharp[3:60, 4:80])
    np.testing.assert_array_equal(read_plane(tmp_path / "out/train/s1/mask/00.png"), pair.mask[3:60, 4:80])


def test_the_edits_of_a_person_are_exported(tmp_path, path):
    assert run(path, tmp_path / "before", "gopro").exit_code == 0
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim") as edits:
        edits.set_verdict("s1", "01", Verdict.REJECT)
        edits.set_mask("s1", "02", np.full((40, 52), 255, np.uint8))
    assert run(path, tmp_path / "after", "gopro").exit_code == 0
    assert not (tmp_path / "after/train/s1/blur/01.png").exists()
    assert (read_plane(tmp_path / "after/train/s1/mask/02.png") == 255).all()


# --- interrupted, repeated, parallel ---


def test_an_interrupted_export_continues_and_other_pairs_are_not_mixed_in(tmp_path, path, monkeypatch):
    real, done = export_run.export_pair, []

    def dying(task):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(task.name)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr(export_run, "export_pair", dying)
        assert run(path, tmp_path / "out", "gopro").exit_code == 130
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.png")}
    assert len(written) == 9
    refused(run(path, tmp_path / "out", "gopro", "--bit-depth", "16"), "holds other files")
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim") as edits:
        edits.set_note("s1", "01", "changed meanwhile")
    refused(run(path, tmp_path / "out", "gopro"), "holds other files")
    path.with_name("a.h5.edits.jsonl").unlink()
    assert run(path, tmp_path / "out", "gopro").exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in written} == written
    refused(run(path, tmp_path / "out", "gopro"), "holds a finished export")
    assert back(tmp_path / "out", tmp_path / "b.h5", "gopro").exit_code == 0
    assert content(tmp_path / "b.h5") == content(path)


def test_overwriting_leaves_no_picture_of_the_earlier_export(tmp_path, path, make_pair, make_file):
    run(path, tmp_path / "out", "gopro")
    other = make_file(tmp_path / "b.h5", {"train": [make_pair("s1", "00")]})
    assert run(other, tmp_path / "out", "gopro", "--overwrite").exit_code == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_overwriting_leaves_no_lmdb_and_no_metadata_of_the_earlier_export(tmp_path, path, make_pair, make_file):
    other = make_file(tmp_path / "b.h5", {"train": [make_pair("s1", "00")]})
    for kind in ("lmdb", "imagefolder", "lmdb"):
        assert run(path, tmp_path / "out", kind, "--overwrite").exit_code == 0
    assert not (tmp_path / "out/croissant.json").exists()
    assert not list((tmp_path / "out").rglob("metadata.jsonl"))
    assert run(other, tmp_path / "out", "lmdb", "--overwrite").exit_code == 0
    assert back(tmp_path / "out", tmp_path / "again.h5", "lmdb").exit_code == 0
    assert content(tmp_path / "again.h5", masks=False) == content(other, masks=False)


def test_overwriting_costs_no_picture_that_is_no_export(tmp_path, path):
    own = tmp_path / "out"
    for name in ("holiday.png", "train/s1/blur/mine.png", "plots/a.png"):
        write_image(own / name, np.zeros((8, 8, 3), np.uint8))
    replaced = own / "train/s1/blur/00.png"
    write_image(replaced, np.zeros((8, 8, 3), np.uint8))
    assert run(path, own, "gopro", "--overwrite").exit_code == 0
    assert all((own / name).is_file() for name in ("holiday.png", "train/s1/blur/mine.png", "plots/a.png"))
    assert read_image(replaced).shape == (40, 52, 3)
    assert run(path, own, "reloblur", "--overwrite").exit_code == 0
    assert not replaced.exists()
    assert (own / "holiday.png").is_file()


def test_workers_write_the_same_files(tmp_path, path):
    for workers in ("0", "2"):
        assert run(path, tmp_path / workers, "imagefolder", workers=workers).exit_code == 0
    files = [sorted(f.relative_to(tmp_path / w) for f in (tmp_path / w).rglob("*") if f.is_file()) for w in ("0", "2")]
    assert files[0] == files[1]
    for file in files[0]:
        if file.name not in ("README.md", "croissant.json"):  # they hold the folder's name
            assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()
