"""The report is well-formed, complete, safe against odd names, and shows rejected pairs first."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from localblur.alignment.pair import align_pair
from localblur.alignment.pipeline import AlignmentSettings
from localblur.alignment.rendering import Rendering
from localblur.alignment.report import ReportEntry, write_report
from localblur.alignment.report_pictures import CAPTIONS, LONG_SIDE_PX, pair_pictures, picture_name, save_pictures
from localblur.datasets.pair import PairInfo, Verdict

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks nesting and collects images, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values["src"] or "")
        if "id" in values:
            self.anchors.append(values["id"] or "")
        if tag == "a":
            self.links.append((values["href"] or "").removeprefix("#"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def entry(scene: str, verdict: Verdict, reasons: str = "") -> ReportEntry:
    quality = {"usable_tiles": 0.8, "residual_p50_px": float("nan"), "static_psnr_db": 38.25, "unknown": 1.0}
    return ReportEntry(scene, "train", PairInfo(name="00", quality=quality, verdict=verdict, reasons=reasons))


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_report_without_pairs_or_calibration(tmp_path: Path) -> None:
    page = parsed(write_report(tmp_path / "new" / "report", [], {"rig": {}}, {"a/00": "cannot <read>"}, "T <1>"))
    text = "".join(page.text)
    assert "0 pairs: 0 accepted, 0 rejected, 1 lost" in text
    assert "cannot <read>" in text
    assert "No static pairs" in text


def test_rejected_come_first_and_names_are_escaped(tmp_path: Path) -> None:
    entries = [entry("a", Verdict.ACCEPT), entry("z <b> & c", Verdict.REJECT, "parallax: 19% > 10%")]
    page = parsed(write_report(tmp_path, entries, {}, {}, "run"))
    text = "".join(page.text)
    assert page.links == ["z <b> & c/00", "a/00"]
    assert set(page.links) <= set(page.anchors)
    assert "parallax: 19% > 10%" in text
    assert "38.2" in text
    assert "nan" not in text


def test_calibration_residuals_are_shown(tmp_path: Path) -> None:
    content = {
        "static_pairs": ["rig/calibration/static/00"],
        "spread_px": [0.0371],
        "residuals": [{"residual_p50_px": 0.021, "residual_p95_px": None, "usable_tiles": 0.9, "static_psnr_db": 37.5}],
        "color_residual": 0.0099,
        "rendering": {"method": "chart", "delta_e2000": 0.47},
    }
    text = "".join(parsed(write_report(tmp_path, [], {"rig": content}, {}, "run")).text)
    for part in ("rig/calibration/static/00", "0.0371", "0.021", "37.5", "chart", "0.47", "–"):
        assert part in text


@pytest.mark.parametrize("masked", [True, False])
def test_pictures_are_small_and_found_by_the_page(masked: bool, shots: dict[str, Any], tmp_path: Path) -> None:
    captured = shots["moving"].captured()
    aligned = align_pair(captured, None, AlignmentSettings())
    mask = np.where(aligned.moving, 255, 0).astype(np.uint8) if masked else None
    pictures = pair_pictures(captured, aligned, mask, Rendering.none())
    assert set(pictures) == set(CAPTIONS)
    save_pictures(tmp_path, "a", "00", pictures)
    page = parsed(write_report(tmp_path, [entry("a", Verdict.ACCEPT), entry("b", Verdict.ACCEPT)], {}, {}, "run"))
    assert page.images == [picture_name("a", "00", kind) for kind in CAPTIONS]
    for name in page.images:
        stored = cv2.imread(str(tmp_path / name))
        assert stored is not None
        assert max(stored.shape[:2]) <= LONG_SIDE_PX
    before, after = pictures["before"].mean(), pictures["after"].mean()
    assert after < 0.5 * before
