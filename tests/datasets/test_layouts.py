"""Every public layout on a generated miniature with a missing partner and a damaged file in it."""

import pickle
import random
import shutil
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.datasets.images import write_image
from localblur.datasets.import_dataset import main
from localblur.datasets.importers import LayoutOptions
from localblur.datasets.layouts import LAYOUTS
from localblur.datasets.store import PairsFile

SIZE = (20, 26)
BLURRED, SHARP = 40, 80


def run(layout, path, output, *options):
    arguments = [layout, path, "-o", output, "--workers", "0", *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def put(path, value, size=SIZE):
    """A picture that says by its level whether it is blurred or sharp, and by its gradient that it is no flat one."""
    ramp = np.linspace(0, 20, size[1], dtype=np.uint8)
    write_image(path, np.broadcast_to((value + ramp)[None, :, None], (*size, 3)).copy())


def put_pair(blurred, sharp):
    put(blurred, BLURRED)
    put(sharp, SHARP)


def gopro(root):
    for split, scene in (("train", "GOPR0372_07_00"), ("train", "GOPR0374_11_00"), ("test", "GOPR0384_11_00")):
        for number in range(2):
            folder = root / "GOPRO_Large" / split / scene
            put_pair(folder / "blur" / f"{number:06d}.png", folder / "sharp" / f"{number:06d}.png")
            put(folder / "blur_gamma" / f"{number:06d}.png", BLURRED + 5)
    (root / "GOPRO_Large/train/GOPR0372_07_00/sharp/000001.png").unlink()
    (root / "GOPRO_Large/test/GOPR0384_11_00/sharp/000000.png").write_bytes(b"")
    return ["train GOPR0372_07_00/000000", "train GOPR0374_11_00/000000", "train GOPR0374_11_00/000001"] + [
        "test GOPR0384_11_00/000001"
    ]


def gopro_flat(names, separator):
    def make(root):
        for split, scene in (("train", "GOPR0372_07_00"), ("test", "GOPR0384_11_00")):
            for number in range(2):
                stem = f"{scene}{separator}{number:06d}.png"
                put_pair(root / split / names[0] / stem, root / split / names[1] / stem)
        (root / "train" / names[1] / f"GOPR0372_07_00{separator}000001.png").unlink()
        (root / "test" / names[0] / f"GOPR0384_11_00{separator}000000.png").write_bytes(b"")
        return ["train GOPR0372_07_00/000000", "test GOPR0384_11_00/000001"]

    return make


def hide(root):
    for name in ("100fromGOPR1055.MP4", "101fromGOPR1055.MP4", "7fromGOPR0950.MP4", "8fromGOPR0950.MP4"):
        put_pair(root / "HIDE" / "input" / f"{name}.png", root / "HIDE" / "target" / f"{name}.png")
    (root / "HIDE/target/101fromGOPR1055.MP4.png").unlink()
    (root / "HIDE/input/7fromGOPR0950.MP4.png").write_bytes(b"\x89PNG\r\n")
    return ["test GOPR0950/8", "test GOPR1055/100"]


def realblur(root):
    folder = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
    lines = {"train": [], "test": []}
    for split, scene in (("train", "scene001"), ("test", "scene002")):
        for number in (1, 2, 10):
            gt, blur = (f"{folder}/{scene}/{kind}/{kind}_{number}.png" for kind in ("gt", "blur"))
            put_pair(root / blur, root / gt)
            lines[split].append(f"{gt} {blur} ")
    (root / folder / "scene001/blur/blur_2.png").unlink()
    (root / folder / "scene002/gt/gt_1.png").write_bytes(b"no picture")
    lines["test"].append("../secret/scene009/gt/gt_1.png ../secret/scene009/blur/blur_1.png")
    for split, content in lines.items():
        (root / f"RealBlur_J_{split}_list.txt").write_text("\n".join(content))
    return ["train scene001/1", "train scene001/10", "test scene002/2", "test scene002/10"]


def rsblur(root):
    lines = {"train": [], "val": [], "test": []}
    for scene, split in enumerate(lines):
        for number in range(2):
            here = f"RSBlur/{scene:04d}/{number:06d}"
            put_pair(root / here / "real_blur/real_blur.png", root / here / "gt/gt_sharp.png")
            lines[split].append(f"{here}/gt/gt_sharp.png {here}/real_blur/real_blur.png")
        (root / f"RSBlur_real_{split}.txt").write_text("\n".join(lines[split]))
    (root / "RSBlur/0000/000001/gt/gt_sharp.png").unlink()
    (root / "RSBlur/0002/000000/real_blur/real_blur.png").write_bytes(b"")
    return ["train 0000/000000", "val 0001/000000", "val 0001/000001", "test 0002/000001"]


def reloblur(root):
    for split, scene in (("train", "s01"), ("test", "s02")):
        for name in ("00", "01"):
            here = root / "dataset" / split / scene / name
            put_pair(here / f"{name}_blur.png", here / f"{name}_sharp.png")
            mask = np.zeros(SIZE, np.uint8)
            mask[:4], mask[4] = 255, 1
            write_image(root / "masks" / split / scene / name / f"{name}.png", mask)
    (root / "dataset/train/s01/01/01_sharp.png").unlink()
    (root / "masks/test/s02/00/00.png").write_bytes(b"")  # such files are in the published archive
    return ["train s01/00", "test s02/00", "test s02/01"]


def bsd(root):
    for exposure in ("BSD_1ms8ms", "BSD_3ms24ms"):
        for split in ("train", "valid", "test"):
            here = root / exposure / split / "000"
            for number in range(2):
                stem = f"{number:08d}.png"
                put_pair(here / "Blur/RGB" / stem, here / "Sharp/RGB" / stem)
    (root / "BSD_1ms8ms/train/000/Sharp/RGB/00000001.png").unlink()
    (root / "BSD_3ms24ms/test/000/Blur/RGB/00000000.png").write_bytes(b"")
    found = [f"{s} {e}_{f}_000/{n:08d}" for e in ("BSD_1ms8ms", "BSD_3ms24ms") for s, f in SPLITS for n in range(2)]
    return [x for x in found if x not in ("train BSD_1ms8ms_train_000/00000001", "test BSD_3ms24ms_test_000/00000000")]


SPLITS = (("train", "train"), ("val", "valid"), ("test", "test"))


def reds(root):
    for split in ("train", "val"):
        for number in range(2):
            stem = f"000/{number:08d}.png"
            put_pair(root / split / f"{split}_blur" / stem, root / split / f"{split}_sharp" / stem)
    (root / "train/train_sharp/000/00000001.png").unlink()
    (root / "val/val_blur/000/00000000.png").write_bytes(b"")
    return ["train 000/00000000", "val 000-val/00000001"]


def put_lmdb(folder, pictures):
    folder.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with lmdb.open(str(folder), map_size=1 << 24) as store, store.begin(write=True) as transaction:
        for key, content in pictures.items():
            transaction.put(key.encode(), content)
            lines.append(f"{key}.png (20,26,3) 1")
    (folder / "meta_info.txt").write_text("\n".join(lines))


def encoded(value):
    ramp = np.linspace(0, 20, SIZE[1], dtype=np.uint8)
    picture = np.broadcast_to((value + ramp)[None, :, None], (*SIZE, 3))
    return cv2.imencode(".png", picture)[1].tobytes()


def basicsr(root):
    keys = ["000_00000000", "000_00000001", "001_00000000", "001_00000001"]
    put_lmdb(root / "train" / "blur_crops.lmdb", {key: encoded(BLURRED) for key in keys} | {keys[3]: b"junk"})
    put_lmdb(root / "train" / "sharp_crops.lmdb", {key: encoded(SHARP) for key in keys if key != keys[1]})
    return ["train 000/00000000", "train 001/00000000"]


MINIATURES = {
    "gopro": ("gopro", gopro, ["--variant", "blur"]),
    "gopro flat as in MIMO-UNet": ("gopro", gopro_flat(("blur", "sharp"), "_"), []),
    "gopro flat as in MPRNet": ("gopro", gopro_flat(("input", "target"), "-"), []),
    "hide": ("hide", hide, []),
    "realblur-j": ("realblur-j", realblur, []),
    "rsblur": ("rsblur", rsblur, []),
    "reloblur": ("reloblur", reloblur, []),
    "bsd": ("bsd", bsd, []),
    "reds": ("reds", reds, ["--variant", "blur"]),
    "lmdb": ("lmdb", basicsr, []),
}


def held(path):
    with PairsFile(path) as pairs:
        return [f"{entry.split} {entry.name}/{name}" for entry in pairs.scenes for name in pairs.names(entry.name)]


@pytest.mark.parametrize("miniature", MINIATURES)
def test_a_miniature_is_imported_but_for_what_is_missing_or_damaged(tmp_path, miniature):
    layout, make, options = MINIATURES[miniature]
    expected = make(tmp_path / "in")
    result = run(layout, tmp_path / "in", tmp_path / "x.h5", *options)
    assert result.exit_code == 3, result.output
    assert sorted(held(tmp_path / "x.h5")) == sorted(expected)
    told = result.stderr[result.stderr.index("left out") :].splitlines()[1:]
    assert any("partner" in line or "missing" in line for line in told)
    assert any("decode" in line for line in told)
    with PairsFile(tmp_path / "x.h5") as pairs:
        for entry in pairs.scenes:
            pair = pairs.read(entry.name, 0)
            assert (int(pair.blurred[0, 0, 0]), int(pair.sharp[0, 0, 0])) == (BLURRED, SHARP)
        known = LAYOUTS[layout]
        assert pairs.header.licence == known.licence
        assert pairs.header.settings.get("citation", "") == known.citation
    assert known.citation in result.stdout


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_an_empty_or_missing_folder_is_one_line(tmp_path, layout):
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        result = run(layout, tmp_path / name, tmp_path / "x.h5")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1), result.output
        assert str(tmp_path / name) in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_the_kind_of_blurred_pictures_has_to_be_chosen(tmp_path):
    gopro(tmp_path / "in")
    result = run("gopro", tmp_path / "in", tmp_path / "x.h5")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "choose --variant blur or blur_gamma" in result.stderr
    assert "no variant 'sharp'" in run("gopro", tmp_path / "in", tmp_path / "x.h5", "--variant", "sharp").stderr
    assert "only one kind" in run("hide", tmp_path / "in", tmp_path / "x.h5", "--variant", "blur").stderr
    assert run("gopro", tmp_path / "in", tmp_path / "x.h5", "--variant", "blur_gamma").exit_code == 3
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert int(pairs.read("GOPR0374_11_00", 0).blurred[0, 0, 0]) == BLURRED + 5
        assert pairs.header.settings["variant"] == "blur_gamma"


def test_what_is_missing_of_the_published_pairs_is_said(tmp_path):
    hide(tmp_path / "in")
    result = run("hide", tmp_path / "in", tmp_path / "x.h5")
    assert "note: test: 3 pairs found, 2025 are published (2022 missing)" in result.stderr


def test_masks_of_reloblur_mark_by_any_value_and_may_lie_elsewhere(tmp_path):
    reloblur(tmp_path / "in")
    assert run("reloblur", tmp_path / "in", tmp_path / "x.h5").exit_code == 3
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.read("s01", 0).mask.sum() == 5 * SIZE[1] * 255
        assert [pairs.has_mask("s02", index) for index in range(2)] == [False, True]
    other = tmp_path / "lmd"
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :3] = 1
    (other / "test/s02/00").mkdir(parents=True)
    (other / "test/s02/01").mkdir(parents=True)
    np.save(other / "test/s02/00/00.npy", mask)
    (other / "test/s02/01/01.npy").write_bytes(pickle.dumps({"blur_mask": mask}))
    result = run("reloblur", tmp_path / "in", tmp_path / "y.h5", "--masks", other)
    assert result.exit_code == 3
    assert "s01/00: imported without its mask" in result.stderr
    assert "pickled objects can run code and are not opened" in result.stderr
    with PairsFile(tmp_path / "y.h5") as pairs:
        assert pairs.read("s02", 0).mask.sum() == 3 * SIZE[0] * 255
        assert not pairs.has_mask("s02", 1)


def test_lists_reach_nothing_outside_their_folder(tmp_path):
    put_pair(tmp_path / "secret/scene009/blur/blur_1.png", tmp_path / "secret/scene009/gt/gt_1.png")
    realblur(tmp_path / "in")
    found = LAYOUTS["realblur-j"].find(tmp_path / "in", LayoutOptions())
    assert not any("secret" in str(pair.sharp) for pair in found.pairs)
    assert any("leaves its folder" in reason for reason in found.left_out)


def test_a_scene_in_two_published_splits_becomes_two_scenes(tmp_path):
    for split in ("train", "test"):
        here = tmp_path / "in/dataset" / split / "s01/00"
        put_pair(here / "00_blur.png", here / "00_sharp.png")
    result = run("reloblur", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 0, result.output
    assert held(tmp_path / "x.h5") == ["test s01/00", "train s01-train/00"]
    assert "look like one scene" in result.stderr


def test_an_lmdb_without_its_list_or_of_another_kind_is_one_line(tmp_path):
    basicsr(tmp_path / "in")
    (tmp_path / "in/train/blur_crops.lmdb/meta_info.txt").unlink()
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "the list of keys" in result.stderr
    (tmp_path / "in/train/blur_crops.lmdb/meta_info.txt").write_text("000_00000000.png (20,26,3) 1")
    (tmp_path / "in/train/blur_crops.lmdb/data.mdb").write_bytes(b"nonsense" * 1000)
    assert "as an LMDB" in run("lmdb", tmp_path / "in", tmp_path / "x.h5").stderr


def test_an_import_writes_nothing_into_the_data_set(tmp_path):
    basicsr(tmp_path / "in")
    before = sorted(path for path in (tmp_path / "in").rglob("*"))
    run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert sorted(path for path in (tmp_path / "in").rglob("*")) == before


# --- damage at random ---


def damage(root, dice):
    """Change, cut, empty, rename, exchange or link a few files of a tree at random."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".mdb")
    for path in dice.sample(files, min(len(files), 3)):
        if not path.exists():
            continue
        content = bytearray(path.read_bytes())
        what = dice.randrange(7)
        if what == 0 and content:
            for _ in range(4):
                content[dice.randrange(len(content))] = dice.randrange(256)
            path.write_bytes(content)
        elif what == 1:
            path.write_bytes(content[: dice.randrange(len(content) + 1)])
        elif what == 2:
            path.write_bytes(dice.randbytes(200))
        elif what == 3:
            path.rename(path.with_name("a\nb" + path.name))
        elif what == 4:
            path.unlink()
            path.mkdir()
        elif what == 5:
            path.write_bytes(content + b"\n../../x/gt/gt_1.png ../../x/blur/blur_1.png\n/etc/passwd /etc/passwd\n")
        else:
            put(path if path.suffix == ".png" else path.with_suffix(".png"), 9, (8, 5))


@pytest.mark.parametrize("miniature", MINIATURES)
def test_damaged_trees_never_give_a_traceback_or_a_file_elsewhere(tmp_path, miniature):
    layout, make, options = MINIATURES[miniature]
    make(tmp_path / "whole")
    dice = random.Random(zlib_seed(miniature))
    for _ in range(40):
        tree, out = tmp_path / "tree", tmp_path / "out"
        shutil.copytree(tmp_path / "whole", tree)
        out.mkdir()
        damage(tree, dice)
        before = {path for path in tmp_path.rglob("*") if out not in path.parents}
        result = run(layout, tree, out / "x.h5", *options)
        assert result.exit_code in (0, 1, 3), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        assert {path for path in tmp_path.rglob("*") if out not in path.parents} == before
        shutil.rmtree(tree)
        shutil.rmtree(out)


def zlib_seed(text):
    return sum(text.encode())


def test_roots_that_are_files_are_refused(tmp_path):
    Path(tmp_path / "file").write_text("no")
    for layout in LAYOUTS.values():
        with pytest.raises(LocalblurError, match="not a folder"):
            layout.find(tmp_path / "file", LayoutOptions())
