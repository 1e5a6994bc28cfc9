"""A pairs file to be edited, and who edits it."""

from localblur.datasets.storage.edits import EditsWriter
from localblur.datasets.store import PairsFile

SIZE = (70, 90)


def write_file(folder, make_pair, make_file):
    """`a.h5`: three pairs of one training scene, the second with mask and reasons, and one of a test scene."""
    members = [make_pair(name=f"{n}", masked=n == 1, reasons="too dark" if n == 1 else "", size=SIZE) for n in range(3)]
    return make_file(folder / "a.h5", {"train": members, "test": [make_pair("s2", masked=False, size=SIZE)]})


def make_mask(rng):
    return rng.integers(0, 256, SIZE, dtype="uint8")


def writer(path, user="kim"):
    with PairsFile(path, edits=False) as pairs:
        return EditsWriter(path, pairs.identity, user, pairs.folded_edits)
