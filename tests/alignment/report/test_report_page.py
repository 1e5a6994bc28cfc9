"""The report in a real headless Chromium, opened as a file; skipped where none is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_chromium

from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings
from localblur.alignment.report.page import ReportEntry, write_report
from localblur.alignment.report.pictures import pair_pictures, save_pictures
from localblur.datasets.pair import PairInfo, Verdict

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")]

PSNR = {"a": 31.0, "b": 9.5, "c": float("nan"), "d": 100.25}
ROWS = (
    "[...document.querySelectorAll('#list tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)"
)
SECTIONS = (
    "[...document.querySelectorAll('.pair')].filter(x => !x.hidden).map(x => x.querySelector('h3 a').textContent)"
)
STAGE = "document.querySelector('.pair .stage')"


@pytest.fixture(scope="module")
def pictures(shots: dict[str, Any]) -> dict[str, bytes]:
    captured = shots["moving"].captured()
    return pair_pictures(captured, align_pair(captured, None, AlignmentSettings()), None, Rendering.none())


@pytest.fixture(params=[10**9, 0], ids=["embedded", "beside"])
def page(request: pytest.FixtureRequest, tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    entries = []
    for scene, psnr in PSNR.items():
        rejected = scene in ("b", "c")
        info = PairInfo(
            name="00",
            quality={"static_psnr_db": psnr, "unexplained": 0.25},
            verdict=Verdict.REJECT if rejected else Verdict.ACCEPT,
            reasons={"b": "parallax: 19% <shifted>", "c": "mirrored: flip it"}.get(scene, ""),
        )
        entries.append(ReportEntry(scene, "train", info))
        save_pictures(tmp_path, scene, "00", pictures)
    return write_report(tmp_path, entries, {}, {}, "run", embed_limit_bytes=request.param)


@pytest.fixture
def browser(page: Path) -> Iterator[Browser]:
    with Browser(1300, 900) as found:
        found.open(page.as_uri())
        found.wait("document.body.dataset.ready")
        yield found
    assert found.complaints == []


def sort(browser: Browser, title: str) -> None:
    browser.run(
        f"[...document.querySelectorAll('#list thead button')].find(x => x.textContent.startsWith('{title}')).click()"
    )


def test_sorting_by_any_column(browser: Browser) -> None:
    assert browser.run(ROWS) == ["b/00", "c/00", "a/00", "d/00"]
    sort(browser, "static PSNR")
    assert browser.run(ROWS) == ["b/00", "a/00", "d/00", "c/00"]  # by number, not by text; not measured: last
    assert browser.run(SECTIONS) == browser.run(ROWS)
    assert browser.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    sort(browser, "static PSNR")
    assert browser.run(ROWS) == ["d/00", "a/00", "b/00", "c/00"]
    sort(browser, "pair")
    assert browser.run(ROWS) == ["a/00", "b/00", "c/00", "d/00"]
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1


def test_filters_and_further_measures(browser: Browser) -> None:
    browser.click("[data-show='reject']")
    assert browser.run(ROWS) == browser.run(SECTIONS) == ["b/00", "c/00"]
    assert browser.run("document.querySelector('#shown').textContent") == "2 of 4 pairs"
    browser.click(".kinds button")
    assert browser.run(ROWS) == ["c/00"]  # kinds of one count come by name: mirrored, parallax
    browser.click(".kinds button")
    assert len(browser.run(ROWS)) == 4
    column = "getComputedStyle(document.querySelector('#list th.more')).display"
    assert browser.run(column) == "none"
    browser.click("#all-measures")
    assert browser.run(column) == "table-cell"


def test_comparing_a_pair(browser: Browser) -> None:
    browser.run("document.querySelector('.pair').scrollIntoView()")
    browser.wait(f"{STAGE} !== null")
    browser.wait(f"[...{STAGE}.querySelectorAll('img.on')].every(x => x.complete && x.naturalWidth > 0)")
    on = f"[...{STAGE}.querySelectorAll('img.on')].map(x => x.classList[0])"
    assert browser.run(on) == ["blurred", "sharp"]
    box = browser.run(f"(() => {{ const b = {STAGE}.getBoundingClientRect(); return [b.x, b.y, b.width]; }})()")
    browser.mouse("mousePressed", box[0] + 0.25 * box[2], box[1] + 60)
    browser.mouse("mouseReleased", box[0] + 0.25 * box[2], box[1] + 60, pressed=False)
    assert browser.run("document.querySelector('.pair .split').value") == "25"
    for key, expected in (("2", ["sharp"]), ("m", ["sharp", "mask"]), ("r", ["sharp", "mask", "tiles"])):
        browser.press(key)
        assert browser.run(on) == expected
    browser.press("d")
    assert browser.run(on) == ["after", "mask", "tiles"]
    browser.press("z")
    browser.press("1")
    assert browser.run(on) == ["blurred-detail"]
    browser.press("b")
    fronts = f"{STAGE}.dataset.front"
    first = browser.run(fronts)
    browser.wait(f"{fronts} !== '{first}'")
    browser.run(f"[...{STAGE}.parentElement.querySelectorAll('button')].find(x => x.textContent === 'Sharp').click()")
    assert browser.run(fronts) == "sharp"


def test_every_picture_can_be_shown(browser: Browser) -> None:
    """Also under the page's own policy, embedded or beside it."""
    shown = "Promise.all([...document.images].map(x => (x.loading = 'eager', x.decode().then(() => 1, () => 0))))"
    found = browser.run(shown)
    assert len(found) >= 10 * len(PSNR)
    assert all(found)


def test_keys_step_through_the_pairs(browser: Browser) -> None:
    browser.run("document.querySelector('.pair').scrollIntoView()")
    browser.wait(f"{STAGE} !== null")
    browser.run(f"{STAGE}.focus()")
    browser.press("j")
    focused = "document.activeElement.closest('.pair').querySelector('h3 a').textContent"
    assert browser.run(focused) == "c/00"
    browser.press("k")
    assert browser.run(focused) == "b/00"


def test_table_and_pictures_are_there_without_javascript(page: Path) -> None:
    with Browser(1300, 900) as browser:
        browser.ask("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(page.as_uri())
        browser.wait("document.querySelectorAll('#list tbody tr').length === 4")
        assert browser.run("document.body.dataset.ready") is None
        assert browser.run(ROWS) == ["b/00", "c/00", "a/00", "d/00"]
        assert browser.run("document.querySelectorAll('.pair .twins img').length") == 5 * len(PSNR)
        browser.click("#all-measures")
        assert browser.run("getComputedStyle(document.querySelector('#list th.more')).display") == "table-cell"
