"""Damaging files of a tree at random, as disks, downloads and hostile people do."""

import json
import struct
import zlib

HOSTILE_LINES = (
    "../../x/gt/gt_1.png ../../x/blur/blur_1.png",
    "/etc/passwd /etc/passwd",
    "../../secret.png.png (20,26,3) 1",
    "x" * 5000,
    "a b c",
    "\x00 \x01",
)
HOSTILE_JSON = (
    {"blurred_file_name": "../../secret.png", "sharp_file_name": "/etc/passwd", "scene": "../..", "name": ".."},
    {"valid_box": [1e400, -1, 2, 10**30]},
    {"valid_box": "abcd"},
    {"quality": {"a": 10**400}},
    {"quality": [1]},
    {"reasons": "\ud800", "decided_by": "\udfff" * 40},
    {"exposure_long_ms": -1e300, "exposure_short_ms": "x"},
    {"verdict": "?"},
    {"scene": None, "name": {"a": 1}},
    {"scene": "\u202e\ud800", "name": "n" * 10_000},
    {"mask_file_name": "."},
)


def damage(root, dice, files=3):
    """Change, cut, empty, rename, exchange or link up to `files` files below `root`, as `dice`, a `Random`, falls."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    # lists and databases are few among many pictures, and read more of
    wanted = [path for path in found if path.suffix in (".txt", ".jsonl") or path.name == "data.mdb"]
    for path in dice.sample(found + wanted, min(len(found), files)):
        if path.is_file() and not path.is_symlink():
            dice.choice(WAYS)(path, dice)


def flip(path, dice):
    """Other bytes here and there."""
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 4, 40]) if content else 0):
        content[dice.randrange(len(content))] = dice.randrange(256)
    path.write_bytes(content)


def cut(path, dice):
    """The beginning only."""
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content) + 1)])


def double(path, dice):
    """A stretch of it twice."""
    content = path.read_bytes()
    start = dice.randrange(len(content) + 1)
    path.write_bytes(content + content[start : start + 5000])


def noise(path, dice):
    """Something else entirely."""
    path.write_bytes(dice.randbytes(dice.choice([0, 8, 200, 20_000])))


def rename(path, dice):
    """A name that is hard to print."""
    path.rename(path.with_name(dice.choice(["a\nb", "\u202e", ".", "\x1b[31m", "-", "\udcff"]) + path.name))


def into_folder(path, dice):
    """A folder where a file should be."""
    path.unlink()
    path.mkdir()


def link(path, dice):
    """A link to itself, to nothing, or out of the tree."""
    path.unlink()
    path.symlink_to(dice.choice([path, path.with_name("gone"), "/etc/passwd", "../../secret.png", "/", "/dev/zero"]))


def hostile(path, dice):
    """Lines that lead elsewhere, in lists; elsewhere bytes behind the end."""
    if path.suffix == ".jsonl":
        lines = path.read_text(errors="replace").splitlines() or ["{}"]
        number = dice.randrange(len(lines))
        try:
            known = json.loads(lines[number])
        except ValueError:
            known = {}
        lines[number] = json.dumps((known if isinstance(known, dict) else {}) | dice.choice(HOSTILE_JSON))
        path.write_text("\n".join([*lines, dice.choice(["[" * 100_000, "null", "[]", "{", "1e999"])]))
    else:
        with path.open("ab") as file:
            file.write(("\n" + "\n".join(dice.sample(HOSTILE_LINES, 3)) + "\n").encode())


def bomb(path, dice):
    """A PNG of a few bytes that claims to be huge, or another size than its partner's."""
    width, height = dice.choice([(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 0), (5, 8), (1, 2**30)])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(20_000))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)


WAYS = (flip, cut, double, noise, rename, into_folder, link, hostile, bomb)
