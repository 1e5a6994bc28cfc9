"""The page's server over real HTTP: what it answers, what it refuses to write, what it writes."""

import gzip
from concurrent.futures import ThreadPoolExecutor

import cv2
import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.edits import edits_folder, edits_path, read_edits
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.store import MasksWriter, PairsFile, blur_cells
from localblur.datasets.view.pictures import cached, display_pixels
from localblur.datasets.view.state import Curation

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from page_server import PageServer

SIZE = (70, 90)


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    members = [
        make_pair(name=f"{n}", masked=n != 1, size=SIZE, reasons="too dark; residual 0.3 px" if n == 2 else "")
        for n in range(3)
    ]
    return make_file(tmp_path / "a.h5", {"train": members, "test": [make_pair("s2", size=(40, 50))]})


@pytest.fixture
def page(path):
    with PageServer(path) as running:
        yield running


# --- what it refuses to write ---


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "a change has texts"),
        (b'{"verdict": 3}', "a change has texts"),
        (b'{"verdict": "perhaps"}', "verdict must be one of accept, reject, undecided"),
        (b'{"verdict": "accept", "who": "me"}', "a change has texts"),
        (b'{"note": "' + b"n" * 500 + b'"}', "the limit is 480"),
    ],
)
def test_changes_that_make_no_sense_are_one_line_and_change_nothing(page, body, complaint):
    status, answer = page.json("/api/pairs/0", "POST", body, content_type="application/json")
    assert status == 400
    assert complaint in answer["error"]
    assert "\n" not in answer["error"]
    assert not edits_path(page.curation.path).exists()


def test_wrong_requests_have_their_codes(page):
    body = b'{"verdict": "accept"}'
    json_type = {"content_type": "application/json"}
    assert page.ask("/api/pairs/0", "POST", body, content_type="text/plain")[0] == 415
    assert page.ask("/api/pairs/4", "POST", body, **json_type)[0] == 404
    assert page.ask("/api/pairs/-1", "POST", body, **json_type)[0] == 404
    assert page.ask("/api/pairs/99999999999999999999/picture/sharp")[0] == 404
    assert page.ask("/api/pairs/0", "POST", b" " * 70_000, **json_type)[0] == 413
    assert page.ask("/api/pairs/0", "DELETE")[0] == 405
    assert page.ask("/api/pairs/0/picture/both")[0] == 404
    assert page.ask("/api/pairs/1/mask")[0] == 404
    assert page.ask("/api/statistics/nothing.png")[0] == 404
    for query in (
        "",
        "y=0&x=0&height=1",
        "y=a&x=0&height=1&width=1",
        "y=0&x=0&height=71&width=1",
        "y=-1&x=0&height=1&width=1",
    ):
        assert page.ask(f"/api/pairs/0/window/sharp?{query}")[0] == 400


def put_mask(page, number, mask, version, packed=None):
    body = gzip.compress(np.ascontiguousarray(mask).tobytes()) if packed is None else packed
    return page.json(f"/api/pairs/{number}/mask", "PUT", body, if_match=version)


def test_masks_that_do_not_fit_are_refused(page):
    good = np.zeros(SIZE, np.uint8)
    for packed in (
        b"",
        b"nonsense",
        gzip.compress(bytes(70 * 90 - 1)),
        gzip.compress(bytes(70 * 90 + 1)),
        gzip.compress(bytes(50_000_000)),
        gzip.compress(good.tobytes())[:-9],
    ):
        status, answer = put_mask(page, 0, None, "stored", packed)
        assert status == 400
        assert "mask" in answer["error"]
    assert page.ask("/api/pairs/0/mask", "PUT", bytes(200_000), if_match="stored")[0] == 413
    status, answer = put_mask(page, 0, good, "another")
    assert status == 409
    assert "changed elsewhere" in answer["error"]
    assert page.ask("/api/pairs/0/mask", "DELETE")[0] == 409
    assert not edits_path(page.curation.path).exists()


def test_read_only_shows_everything_and_changes_nothing(path):
    with PageServer(path, user=None) as page:
        assert page.json("/api/file")[1]["read_only"] is True
        assert page.json("/api/pairs")[0] == 200
        for method, where, body in (
            ("POST", "/api/pairs/0", b'{"verdict": "reject"}'),
            ("PUT", "/api/pairs/0/mask", gzip.compress(bytes(70 * 90))),
            ("DELETE", "/api/pairs/0/mask", None),
        ):
            status, answer = page.json(where, method, body, content_type="application/json", if_match="stored")
            assert status == 403
            assert "without --read-only" in answer["error"]
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]


def test_a_second_one_may_look_but_not_edit(page, path):
    with pytest.raises(LocalblurError, match="close that view-dataset first, or look with --read-only"):
        Curation(path, "lee")
    page.decide(0, {"verdict": "reject"})
    with Curation(path, None) as other:
        assert other.row(0)["verdict"] == "reject"


# --- what it shows ---


def test_the_table_holds_all_pairs_in_order(page):
    _, table = page.json("/api/pairs")
    assert [scene["name"] for scene in table["scenes"]] == ["s1", "s2"]
    assert table["scene"] == [0, 0, 0, 1]
    assert table["name"] == ["0", "1", "2", "00"]
    assert table["mask"] == [1, 0, 1, 1]
    assert table["reasons"][2] == "too dark; residual 0.3 px"
    assert table["measures"]["residual_px"] == [0.25] * 4
    _, areas = page.json("/api/areas")
    with PairsFile(page.curation.path) as pairs:
        wanted = [*pairs.blurred_shares("s1"), *pairs.blurred_shares("s2")]
    np.testing.assert_array_equal(np.array(areas["blurred_share"], float), wanted)
    assert areas["blurred_share"][1] is None


def test_pictures_are_those_of_the_file(page, path):
    with PairsFile(path) as pairs:
        pair = pairs.read("s1", 2)
    for which, stored in (("blurred", pair.blurred), ("sharp", pair.sharp)):
        _, headers, body = page.ask(f"/api/pairs/2/window/{which}?y=3&x=4&height=20&width=30")
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
        np.testing.assert_array_equal(image, stored[3:23, 4:34])
        assert "immutable" in headers["cache-control"]
        _, headers, body = page.ask(f"/api/pairs/2/picture/{which}")
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert image.shape == stored.shape
        assert np.abs(image.astype(int) - stored).mean() < 6  # the picture is white noise, the worst there is
    _, headers, body = page.ask("/api/pairs/2/mask")
    assert headers["content-encoding"] == "gzip"
    np.testing.assert_array_equal(np.frombuffer(gzip.decompress(body), np.uint8).reshape(SIZE), pair.mask)
    _, _, body = page.ask("/api/pairs/2/cells")
    cells = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cells[..., 3] > 0, blur_cells(pair.mask) >= 5)
    _, _, body = page.ask("/api/pairs/2/thumbnail")
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED).shape == (70, 90, 3)


def test_linear_16_bit_pictures_are_coded_for_the_screen():
    linear = np.array([[[0, 1, 65535], [14146, 32768, 200]]], np.uint16)
    coded = display_pixels(linear, "linear")
    assert coded.dtype == np.uint8
    # the sRGB code of 0.2159 is 128 / 255, of 0.5 is 0.7354 (IEC 61966-2-1)
    assert coded.tolist() == [[[0, 0, 255], [128, 188, 10]]]
    same = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(display_pixels(same, "srgb"), same)


def test_results_are_kept_up_to_a_size():
    made = []

    def make(key):
        made.append(key)
        return bytes(10)

    get = cached(25, make)
    for key in (1, 2, 1, 3, 1, 2):
        get(key)
    assert made == [1, 2, 3, 2]


def test_statistics_follow_the_edits(page):
    page.decide(0, {"verdict": "reject"})
    _, found = page.json("/api/statistics")
    assert found["splits"]["train"]["verdicts"] == {"accept": 2, "reject": 1, "undecided": 0}
    assert found["splits"]["train"]["decided_by"] == {"auto": 2, "kim": 1}
    assert found["splits"]["train"]["lengths_sampled"] == 2
    for name in found["plots"]:
        _, _, body = page.ask(f"/api/statistics/{name}.png")
        assert body.startswith(b"\x89PNG")


# --- what it writes ---


def test_changes_are_on_the_disk_when_they_are_answered(page, path):
    status, row = page.decide(2, {"verdict": "reject", "note": "window  flickers"})
    assert status == 200
    assert (row["verdict"], row["by"], row["note"]) == ("reject", "kim", "window flickers")
    assert row["reasons"] == "too dark; residual 0.3 px"
    with PairsFile(path) as pairs:
        info = pairs.pair_info("s1", 2)
    assert (info.verdict, info.decided_by) == (Verdict.REJECT, "kim")
    assert info.reasons == "too dark; residual 0.3 px; note: window flickers"
    assert page.json("/api/pairs/2")[1] | {"blurred_share": 0} == row | {"blurred_share": 0}
    page.decide(2, {"note": ""})
    with PairsFile(path) as pairs:
        assert pairs.pair_info("s1", 2).reasons == "too dark; residual 0.3 px"
    page.decide(2, {"note": ""})
    assert len(read_edits(path).edits) == 3


def test_a_mended_mask_arrives_and_can_be_given_back(page, path, rng):
    before = page.ask("/api/pairs/0/mask")[2]
    mask = rng.integers(0, 256, SIZE, dtype=np.uint8)
    status, row = put_mask(page, 0, mask, "stored")
    assert status == 200
    assert row["mask"] == 2
    assert row["blurred_share"] == pytest.approx((mask >= 128).mean(), abs=0.005)
    assert gzip.decompress(page.ask(f"/api/pairs/0/mask?version={row['mask_version']}")[2]) == mask.tobytes()
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 0).mask, mask)
    status, row = put_mask(page, 1, mask, "stored")
    assert (status, row["mask"]) == (200, 2)
    status, row = page.json("/api/pairs/1/mask", "DELETE", if_match=row["mask_version"])
    assert (status, row["mask"], row["blurred_share"]) == (200, 0, None)
    page.json("/api/pairs/0/mask", "DELETE", if_match=page.json("/api/pairs/0")[1]["mask_version"])
    assert page.ask("/api/pairs/0/mask")[2] == before


def test_edits_at_the_same_time_are_all_written(page, path):
    changes = [(number % 4, f"note {number}") for number in range(40)]
    mask = np.full(SIZE, 255, np.uint8)

    def change(item):
        number, note = item
        return page.decide(number, {"note": note})[0], put_mask(page, 0, mask, "stored")[0]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, changes))
    assert [status for status, _ in answers] == [200] * 40
    assert sorted(status for _, status in answers) == [200] + [409] * 39
    journal = read_edits(path)
    assert sorted(edit.note for edit in journal.edits if edit.note) == sorted(note for _, note in changes)
    with PairsFile(path) as pairs:
        last = {(edit.scene, edit.name): edit.note for edit in journal.edits if edit.note}
        assert pairs.pair_info("s2", 0).reasons == f"note: {last['s2', '00']}"


def test_a_full_disk_is_told_and_the_journal_stays_whole(page, path, monkeypatch):
    page.decide(0, {"verdict": "reject"})

    def full(_descriptor):
        raise OSError(28, "No space left on device", "journal")

    with monkeypatch.context() as patched:
        patched.setattr("localblur.datasets.storage.edits.os.fsync", full)
        status, answer = page.decide(1, {"verdict": "reject"})
    assert status == 507
    assert "the disk is full" in answer["error"]
    assert page.json("/api/pairs/1")[1]["verdict"] == "accept"
    assert len(read_edits(path).edits) == 1
    assert page.decide(1, {"verdict": "reject"})[0] == 200


def test_edits_survive_the_server_and_are_folded_in(path, rng):
    mask = rng.integers(0, 256, SIZE, dtype=np.uint8)
    with PageServer(path) as page:
        page.decide(0, {"verdict": "undecided"})
        put_mask(page, 1, mask, "stored")
    with PageServer(path, user="lee") as page:
        _, table = page.json("/api/pairs")
        assert table["verdict"] == ["undecided", "accept", "accept", "accept"]
        assert table["mask"] == [1, 2, 1, 1]
    assert edits_folder(path).exists()
    fold_edits(path)
    with PageServer(path) as page:
        assert page.json("/api/pairs/1")[1]["mask"] == 2
        assert page.json("/api/pairs/1")[1]["mask_version"] == "stored"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]


def test_a_file_that_gets_new_masks_meanwhile_is_shown_as_it_was(page, path):
    before = page.ask("/api/pairs/0/mask")[2]
    with MasksWriter(path, {"method": "x"}) as masks:
        masks.add("s1", "0", np.zeros(SIZE, np.uint8))
    assert page.ask("/api/pairs/0/mask")[2] == before
    assert page.decide(0, {"verdict": "reject"})[0] == 200
    assert PairsFile(path).is_rejected("s1", 0)


def test_a_damaged_picture_is_one_line(path):
    with h5py.File(path) as file:
        offset = file["scenes/s1/sharp"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 500] = bytes(500)
    path.write_bytes(content)
    with PageServer(path) as page:
        status, answer = page.json("/api/pairs/0/picture/sharp")
        assert status == 400
        assert "a.h5 is damaged or incomplete" in answer["error"]
        assert page.ask("/api/pairs/1/picture/sharp")[0] == 200
