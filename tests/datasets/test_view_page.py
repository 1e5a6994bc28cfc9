"""The curation page in a real headless Chromium; skipped where none is installed."""

import time

import cv2
import numpy as np
import pytest
from browser import Browser, find_chromium

from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.edits import edits_path, read_edits
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.store import PairsFile

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from page_server import PageServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")]

HEIGHT, WIDTH = 240, 360
SHOWN = "document.querySelector('#viewer').dataset.shown"


@pytest.fixture
def path(tmp_path, make_file):
    rng = np.random.default_rng(4)
    pairs = []
    for index in range(30):
        sharp = cv2.resize(rng.integers(0, 256, (30, 45, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[80:140, 100 : 130 + 5 * index] = 255
        info = PairInfo(
            name=f"{index:02}",
            quality={"residual_px": index / 100, "saturated": 0.01, "mask_confidence": 0.3 if index == 5 else 0.9},
            verdict=Verdict.REJECT if index % 10 == 0 else Verdict.ACCEPT,
            reasons=f"residual {index / 100} px" if index % 10 == 0 else "",
        )
        blurred = np.where(mask[..., None] > 0, cv2.blur(sharp, (15, 1)), sharp)
        pairs.append(Pair(scene="street", info=info, blurred=blurred, sharp=sharp, mask=mask if index else None))
    return make_file(tmp_path / "pairs.h5", {"train": pairs})


@pytest.fixture
def serve():
    running = []

    def start(path, user="kim"):
        running.append(PageServer(path, user))
        return running[-1].address

    def stop():
        while running:
            running.pop().stop()

    start.stop = stop
    yield start
    stop()


@pytest.fixture
def browser():
    with Browser(1300, 850) as found:
        yield found
    assert found.complaints == []


def open_page(browser, address):
    browser.open(address)
    browser.wait("document.body.dataset.ready")
    browser.wait("document.body.dataset.complete")


def on_screen(browser, x, y):
    """A point of the picture in window coordinates."""
    return browser.run(
        "(() => { const c = document.querySelector('#canvas').getBoundingClientRect();"
        f" const s = Math.min(c.width / {WIDTH}, c.height / {HEIGHT});"
        f" return [c.x + c.width / 2 + ({x} - {WIDTH / 2}) * s, c.y + c.height / 2 + ({y} - {HEIGHT / 2}) * s]; }})()"
    )


def shown_names(browser):
    return browser.run("[...document.querySelectorAll('.card')].sort((a, b) => a.dataset.at - b.dataset.at)"
                       ".map(card => card.querySelector('.name').textContent)")  # fmt: skip


def wait_for_edit(path, event):
    """Wait until the journal has an edit of a kind."""
    for _ in range(400):
        if any(edit.event == event for edit in read_edits(path).edits):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {event} in {edits_path(path)}")


def test_a_curation_from_opening_to_the_folded_file(browser, serve, path):
    """Open, filter, change a verdict, write a note, mend a mask, undo, reload, and verify in the file."""
    address = serve(path)
    open_page(browser, address)
    assert "token" not in browser.run("location.href")
    assert browser.run("document.cookie") == ""
    assert browser.run("document.querySelector('#summary').textContent").startswith("30 pairs27 accepted3 rejected")

    # filter: rejected only, then a range of a measure
    browser.click("[data-group=verdict][data-key=reject]")
    browser.wait("document.querySelector('#summary').textContent.startsWith('3 of 30')")
    assert shown_names(browser) == ["street/00", "street/10", "street/20"]
    browser.click("details[data-key=residual_px] summary")
    browser.click("details[data-key=residual_px] input")
    browser.type("0.05")
    browser.wait("document.querySelector('#summary').textContent.startsWith('2 of 30')")
    assert shown_names(browser) == ["street/10", "street/20"]

    # a verdict by keyboard in the list, one taken back, and a note on the next pair, opened large
    browser.run("document.querySelector('#list').focus()")
    browser.press("a")
    browser.wait("document.querySelector('#summary').textContent.includes('1 no longer match')")
    browser.press("u")
    browser.wait("document.querySelector('#summary').textContent.includes('2 no longer match')")
    browser.press("z", modifiers=2)
    browser.wait("document.querySelector('#summary').textContent.includes('1 no longer match')")
    browser.press("Enter")
    browser.wait(f"{SHOWN} === '20'")
    browser.press("n")
    browser.type("lamp moves too")
    browser.press("Enter")
    wait_for_edit(path, "note")

    # mend the mask: add a stroke, erase, take the erasing back
    browser.press("b")
    browser.drag([on_screen(browser, 40, 200), on_screen(browser, 60, 200), on_screen(browser, 90, 200)])
    browser.wait("document.querySelector('#about-mask').textContent === 'mask by hand'")
    browser.press("e")
    browser.drag([on_screen(browser, 120, 100), on_screen(browser, 150, 110)])
    browser.press("z", modifiers=2)
    browser.wait("document.querySelector('#redo').disabled === false")
    browser.wait("document.body.dataset.unsaved === '0'")
    browser.press("Escape")

    # reload: everything is still there, the same pair is open
    browser.ask("Page.reload")
    browser.wait("document.body.dataset.ready && document.querySelector('#note')?.value === 'lamp moves too'")
    browser.wait(f"{SHOWN} === '20'")
    assert browser.run("document.querySelector('#about-mask').textContent") == "mask by hand"

    stored = PairsFile(path, edits=False).read("street", 20).mask
    with PairsFile(path) as pairs:
        infos = pairs.info("street")
        mended = pairs.read("street", 20).mask
    assert (infos[10].verdict, infos[10].decided_by) == (Verdict.ACCEPT, "kim")
    assert infos[20].verdict is Verdict.REJECT
    assert infos[20].reasons == "residual 0.2 px; note: lamp moves too"
    assert mended[200, 40] == mended[200, 65] == mended[200, 90] == 255
    assert mended[200, 10] == mended[170, 65] == 0
    np.testing.assert_array_equal(mended[:150], stored[:150])  # the erasing was taken back
    serve.stop()
    fold_edits(path)
    assert find_damage(path) == []
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(pairs.read("street", 20).mask, mended)


def test_doubtful_masks_are_found_and_no_longer_doubtful_when_mended(browser, serve, path):
    open_page(browser, serve(path))
    browser.click('[data-group=mask][data-key="doubtful mask"]')
    browser.wait("document.querySelector('#summary').textContent.startsWith('1 of 30')")
    assert shown_names(browser) == ["street/05"]
    assert browser.run("document.querySelector('.card .why').textContent") == "doubtful mask"
    browser.run("document.querySelector('#list').focus()")
    browser.press("Enter")
    browser.wait(f"{SHOWN} === '5'")
    assert "doubtful" in browser.run("document.querySelector('#about-mask').textContent")
    assert browser.run("document.querySelector('#note').clientHeight") > 30
    browser.press("b")
    browser.drag([on_screen(browser, 40, 200), on_screen(browser, 60, 200)])
    browser.wait("document.querySelector('#about-mask').textContent === 'mask by hand'")


def test_taking_every_stroke_back_leads_to_the_stored_mask(browser, serve, path):
    open_page(browser, serve(path))
    browser.press("Enter")
    browser.wait(f"{SHOWN} === '0'")
    browser.press("b")
    browser.drag([on_screen(browser, 100, 100), on_screen(browser, 140, 100)])
    browser.wait("document.querySelector('#about-mask').textContent === 'mask by hand'")
    browser.press("z", modifiers=2)
    browser.wait("document.querySelector('#about-mask').textContent === 'no mask'")
    assert not PairsFile(path).has_mask("street", 0)
    browser.press("z", modifiers=2 | 8)
    browser.wait("document.querySelector('#about-mask').textContent === 'mask by hand'")
    mask = PairsFile(path).read("street", 0).mask
    assert mask[100, 120] == 255 and mask[20, 20] == 0


def wait_for_pixel(browser, folder, wanted, at):
    """Wait until the window shows a colour at a point."""
    for _ in range(100):
        browser.screenshot(folder / "window.png")
        shown = cv2.imread(str(folder / "window.png"))[at[1], at[0], ::-1]
        if np.array_equal(shown, wanted):
            return
        time.sleep(0.05)
    raise AssertionError(f"{shown} is shown, not {wanted}")


def test_the_views_show_what_they_say(browser, serve, path, tmp_path):
    open_page(browser, serve(path))
    with PairsFile(path) as pairs:
        pair = pairs.read("street", 20)
    y, x = HEIGHT // 2, WIDTH // 2
    blurred, sharp = pair.blurred[y, x].astype(int), pair.sharp[y, x].astype(int)
    assert pair.mask[y, x] == 255 and np.abs(blurred - sharp).max() > 5
    browser.run("document.querySelector('#pair-20').click()")
    browser.wait(f"{SHOWN} === '20'")
    browser.run("document.querySelector('[data-mask=off]').click()")
    for _ in range(12):
        browser.press("+")  # to 3200 %, where pixels are as stored
    browser.wait("document.querySelector('#canvas').dataset.exact === '20'")
    left, top = on_screen(browser, x, y)
    at = (int(left) + 16, int(top) + 16)
    for mode, wanted in (
        ("blurred", blurred),
        ("sharp", sharp),
        ("difference", np.minimum(255, 4 * np.abs(blurred - sharp))),
    ):
        browser.click(f"[data-mode={mode}]")
        wait_for_pixel(browser, tmp_path, wanted, at)
    browser.click("[data-mode=slider]")
    wait_for_pixel(browser, tmp_path, sharp, at)
    for _ in range(4):
        browser.press(".")  # the divider moves to the right, past the point
    wait_for_pixel(browser, tmp_path, blurred, at)
    browser.click("[data-mask=tint]")
    opaque = (60 + 70) / 255
    tinted = blurred * (1 - opaque) + np.array([255, 120, 30]) * opaque
    browser.screenshot(tmp_path / "window.png")
    shown = cv2.imread(str(tmp_path / "window.png"))[at[1], at[0], ::-1]
    np.testing.assert_allclose(shown, tinted, atol=2)
    browser.press("ArrowRight")
    browser.wait(f"{SHOWN} === '21'")
    browser.press("ArrowLeft")
    browser.wait(f"{SHOWN} === '20'")


def test_looking_only(browser, serve, path):
    open_page(browser, serve(path, user=None))
    browser.press("r")
    browser.wait("document.querySelector('#status').textContent.includes('looking only')")
    browser.press("Enter")
    browser.wait(f"{SHOWN} === '0'")
    assert browser.run("document.querySelector('#brush-tools').hidden")
    assert browser.run("[...document.querySelectorAll('#verdicts button')].every(button => button.disabled)")
    browser.press("b")
    browser.drag([on_screen(browser, 100, 100), on_screen(browser, 140, 100)])
    browser.press("a")
    assert not edits_path(path).exists()


def test_help_table_and_statistics(browser, serve, path):
    open_page(browser, serve(path))
    browser.press("?")
    browser.wait("document.querySelector('#help').open")
    assert browser.run("document.querySelectorAll('#help kbd').length") > 30
    browser.press("Escape")
    browser.wait("!document.querySelector('#help').open")
    browser.press("t")
    browser.wait("document.querySelectorAll('#list .row').length > 5")
    browser.click("[data-sort=residual_px]")
    browser.click("[data-sort=residual_px]")
    browser.wait("document.querySelector('#list .row[data-at=\"0\"]').dataset.number === '29'")
    browser.press("s")
    browser.wait("document.querySelectorAll('#statistics img').length === 4")
    browser.wait("[...document.querySelectorAll('#statistics img')].every(image => image.naturalWidth > 300)")
    text = browser.run("document.querySelector('#statistics').textContent")
    assert "blurred area, median" in text


def test_many_pairs_get_one_verdict(browser, serve, path):
    open_page(browser, serve(path))
    browser.press("ArrowRight", modifiers=8)
    browser.press("ArrowRight", modifiers=8)
    browser.press("r")
    browser.wait("document.querySelector('#summary').textContent.includes('5 rejected')")
    assert [edit.name for edit in read_edits(path).edits] == ["00", "01", "02"]
    assert [PairsFile(path).is_rejected("street", index) for index in range(4)] == [True, True, True, False]
