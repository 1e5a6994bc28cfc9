"""Small trees of the form of every public data set, with a missing partner and a damaged file in each."""

import json

import cv2
import lmdb
import numpy as np

from localblur.datasets.images import write_image

SIZE = (20, 26)
BLURRED, SHARP = 40, 80


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


REALBLUR_FOLDERS = {
    "J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref",
    "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref",
}


def realblur(root, kind="J"):
    folder = REALBLUR_FOLDERS[kind]
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
        (root / f"RealBlur_{kind}_{split}_list.txt").write_text("\n".join(content))
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


def folder(root):
    """One's own pictures: all three forms, 8 bit, a TIFF and a JPEG among them."""
    put_pair(root / "flat/a_blur.png", root / "flat/a_sharp.png")
    put_pair(root / "flat/b_blur.tif", root / "flat/b_sharp.tif")
    put_pair(root / "flat/c_blur.png", root / "flat/c_sharp.jpg")
    put_pair(root / "set/input/1.png", root / "set/target/1.png")
    write_image(root / "set/mask/1.png", np.full(SIZE, 200, np.uint8))
    put_pair(root / "scenes/s1/00_blur.png", root / "scenes/s1/00_sharp.png")
    put(root / "flat/lonely_blur.png", BLURRED)
    put(root / "flat/torn_sharp.png", SHARP)
    (root / "flat/torn_blur.png").write_bytes(b"")
    return [f"train {name}" for name in ("flat/a", "flat/b", "flat/c", "set/1", "s1/00")]


def imagefolder(root):
    """What `export-dataset --format imagefolder` writes, with a line whose picture is gone and one that is damaged."""
    lines = []
    for number in range(4):
        files = {role: f"s1/{number:02d}_{role}.png" for role in ("blurred", "sharp")}
        put_pair(root / "val" / files["blurred"], root / "val" / files["sharp"])
        line = {f"{role}_file_name": file for role, file in files.items()} | {"scene": "s1", "name": f"{number:02d}"}
        lines.append(line | {"exposure_long_ms": 20.0, "valid_box": [0, 0, *SIZE], "quality": {"residual_px": 0.2}})
    (root / "val/metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "val/s1/01_sharp.png").unlink()
    (root / "val/s1/02_blurred.png").write_bytes(b"")
    return ["val s1/00", "val s1/03"]


MINIATURES = {  # layout, maker (returns what can be imported), options
    "gopro": ("gopro", gopro, ["--variant", "blur"]),
    "gopro flat as in MIMO-UNet": ("gopro", gopro_flat(("blur", "sharp"), "_"), []),
    "gopro flat as in MPRNet": ("gopro", gopro_flat(("input", "target"), "-"), []),
    "hide": ("hide", hide, []),
    "realblur-j": ("realblur-j", realblur, []),
    "realblur-r": ("realblur-r", lambda root: realblur(root, "R"), []),
    "rsblur": ("rsblur", rsblur, []),
    "reloblur": ("reloblur", reloblur, []),
    "bsd": ("bsd", bsd, []),
    "reds": ("reds", reds, ["--variant", "blur"]),
    "lmdb": ("lmdb", basicsr, []),
    "folder": ("folder", folder, ["--split", "train=1"]),
    "imagefolder": ("imagefolder", imagefolder, []),
}
