"""The report is well-formed, complete, safe against odd names, stands alone, and shows rejected pairs first."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localblur.alignment.judging.quality import MEASURES, QualitySettings
from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings
from localblur.alignment.report.page import ReportEntry, write_report
from localblur.alignment.report.pictures import SUFFIXES, pair_pictures, picture_name, save_pictures
from localblur.alignment.report.values import Limit, find_limits, limit_text, measure_text, reason_kind, reason_kinds
from localblur.common.errors import LocalblurError
from localblur.datasets.pair import PairInfo, Verdict

VOID = {"meta", "img", "br", "input"}
SHOWN = [kind for kind in SUFFIXES if kind != "about"]
SETTINGS = {"quality": QualitySettings().model_dump(mode="json"), "alignment": {"rig_degree": 3}}


class Page(HTMLParser):
    """Checks nesting and collects what the page refers to, its table and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.in_row = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in values.items()]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if "id" in values:
            self.anchors.append(values["id"])
        if tag == "a":
            self.links.append(values["href"].removeprefix("#"))
        if tag == "tr" and "data-pair" in values:
            self.rows.append([])
            self.in_row = True
        if tag in ("td", "th") and self.in_row:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.in_row = self.in_row and tag != "tr"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
            if self.in_row and self.rows[-1]:
                self.rows[-1][-1] += data


def entry(scene: str, verdict: Verdict, reasons: str = "", **quality: float) -> ReportEntry:
    measures = {
        "usable_tiles": 0.8,
        "residual_p50_px": float("nan"),
        "static_psnr_db": 38.25,
        "unknown": 1.0,
        **quality,
    }
    return ReportEntry(scene, "train", PairInfo(name="00", quality=measures, verdict=verdict, reasons=reasons))


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.anchors) == len(set(page.anchors))
    assert set(page.links) <= set(page.anchors)
    return page


def words(page: Page) -> str:
    return " ".join(" ".join(page.text).split())


def save_some(folder: Path, scene: str, size: int = 40) -> None:
    """Pictures in name only: the page does not look into them."""
    about = (
        '{"width": 64, "height": 48, "detail": [0, 0, 32, 24], "masked": true, "against_rig": true,'
        ' "field_scale_px": 1.0, "field_mean_px": 0.31, "field_largest_px": 0.57}'
    )
    contents = {kind: about.encode() if kind == "about" else bytes(size) for kind in SUFFIXES}
    save_pictures(folder, scene, "00", contents)


def test_damaged_description_of_pictures_is_named(tmp_path: Path) -> None:
    save_some(tmp_path, "a")
    (tmp_path / picture_name("a", "00", "about")).write_text('{"width": ')
    with pytest.raises(LocalblurError, match=r"cannot read .*about\.json"):
        write_report(tmp_path, [entry("a", Verdict.ACCEPT)], {}, {}, "run")


def test_report_without_pairs_or_calibration(tmp_path: Path) -> None:
    page = parsed(write_report(tmp_path / "new" / "report", [], {"rig": {}}, {"a/00": "cannot <read>"}, "T <1>"))
    assert "T <1>" in words(page)
    assert "0 pairs 0 accepted 0 rejected 1 lost" in words(page)
    assert "a/00 : cannot <read>" in words(page)
    assert "No static pairs" in words(page)


def test_rejected_come_first_and_names_are_escaped(tmp_path: Path) -> None:
    odd = "z <b onload=x> & \"c\" 'd' <script>alert(1)</script>"
    reasons = "parallax: 19% > 10%; misaligned: <i>much</i>"
    entries = [entry("a", Verdict.ACCEPT), entry(odd, Verdict.REJECT, reasons), entry("b", Verdict.UNDECIDED)]
    save_some(tmp_path, odd)
    page = parsed(write_report(tmp_path, entries, {}, {}, odd))
    assert [row[0] for row in page.rows] == [f"{odd}/00", "a/00", "b/00"]
    assert [row[1] for row in page.rows] == ["rejected", "accepted", "undecided"]
    assert page.rows[0][2] == reasons
    assert "parallax: 19% > 10%" in words(page)
    assert "misaligned: <i>much</i>" in words(page)
    assert page.images[0]["alt"].startswith(f"{odd}/00")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sum(tag == "script" for tag, _, _ in page.attributes) == 0  # the page's own has no attributes
    assert [link for link in page.links if link.startswith("p")][:3] == ["p0", "p1", "p2"]


def test_every_pair_with_all_its_reasons_and_measures(tmp_path: Path) -> None:
    entries = [entry(f"s{index}", Verdict.REJECT, f"first {index}: x; second {index}: y") for index in range(5)]
    page = parsed(write_report(tmp_path, entries, {}, {}, "run", settings=SETTINGS))
    text = words(page)
    for index in range(5):
        assert f"s{index}/00" in text
        assert text.count(f"first {index}: x") == 2  # once in the table with the other one, once by itself
        assert text.count(f"second {index}: y") == 2
    assert text.count("38.2 dB (at least 25 dB)") == 5
    assert "nan" not in text
    for measure in MEASURES.values():
        assert measure.explanation in text
    assert "alignment.rig_degree" in text


def test_values_beyond_their_limit_are_marked(tmp_path: Path) -> None:
    entries = [entry("a", Verdict.REJECT, "x", static_psnr_db=20.0), entry("b", Verdict.ACCEPT, static_psnr_db=30.0)]
    page = parsed(write_report(tmp_path, entries, {}, {}, "run", settings=SETTINGS))
    assert "20.0 beyond its limit" in page.rows[0]
    assert "30.0" in page.rows[1]


def test_notes_are_shown(tmp_path: Path) -> None:
    note = "rig bumped since calibration: 3 of 4 pairs <far>"
    assert note in words(parsed(write_report(tmp_path, [], {}, {}, "run", notes=[note])))


def test_calibration_is_shown(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "static_pairs": ["rig/calibration/static/<00>"],
        "spread_px": [0.0371],
        "residuals": [{"residual_p50_px": 0.021, "residual_p95_px": None, "usable_tiles": 0.9, "static_psnr_db": 37.5}],
        "field": np.array([[3.0, 4.0]]),
        "field_size": np.array([64, 48]),
        "vignetting": np.array([1.0, 0.2, 0.0]),
        "vignetting_from": "flat frames",
        "color_matrix": np.diag([0.951, 1.102, 0.903]),
        "color_offset": np.array([0.0021, 0.0, -0.004]),
        "color_residual": 0.0099,
        "chromatic": {"tiles": 77, "red_largest_px": 0.213, "red_uncertainty_px": 0.011},
        "rendering": {"method": "chart", "delta_e2000": 0.47, "gains": np.array([2.0, 1.0, 1.5])},
        "black_blurred": {"frames": 8, "offset_dn": 0.12},
    }
    text = words(parsed(write_report(tmp_path, [], {"rig": content}, {}, "run")))
    expected = [
        "rig/calibration/static/<00>",
        "0.037 px",
        "0.021 px",
        "–",
        "90.0 %",
        "37.5 dB",
        "degree 0, mean 5.00 px",
    ]
    expected += ["flat frames", "0.951", "1.102", "+0.0021", "0.0099", "0.213", "0.011", "77 tiles", "chart", "0.47"]
    expected += ["2.000, 1.000, 1.500", "offset dn 0.12"]
    for part in expected:
        assert part in text, part
    assert "0.806 1.194" in text  # of the cells on the left and on the right; the scale lies between them


def test_small_run_stands_alone(tmp_path: Path) -> None:
    save_some(tmp_path, "a")
    page = parsed(write_report(tmp_path, [entry("a", Verdict.ACCEPT)], {}, {}, "run"))
    assert [image["class"] for image in page.images] == [
        "blurred",
        "mask",
        "sharp",
        *["blurred-detail", "sharp-detail", "before", "after", "tiles", "field", "histogram"],
    ]
    for image in page.images:
        assert image["src"].startswith("data:image/")
        assert image["loading"] == "lazy"
        assert image["alt"].startswith("a/00: ")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_large_run_keeps_its_pictures_beside_the_page(tmp_path: Path) -> None:
    entries = [entry("a", Verdict.ACCEPT), entry("b", Verdict.ACCEPT)]
    for each in entries:
        save_some(tmp_path, each.scene, size=3000)
    embedded = 2 * len(SHOWN) * 3000 * 4 / 3
    page = parsed(write_report(tmp_path, entries, {}, {}, "run", embed_limit_bytes=int(embedded)))
    assert {image["src"] for image in page.images} == {
        picture_name(scene, "00", kind) for scene in ("a", "b") for kind in SHOWN
    }
    for image in page.images:
        assert (tmp_path / image["src"]).exists()
    page = parsed(write_report(tmp_path, entries, {}, {}, "run", embed_limit_bytes=int(1.1 * embedded)))
    assert all(image["src"].startswith("data:") for image in page.images)
    assert not (tmp_path / "pictures").exists()


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    save_some(tmp_path, "a")
    mine = tmp_path / "pictures" / "mine.jpg"
    mine.write_bytes(b"mine")
    write_report(tmp_path, [entry("a", Verdict.ACCEPT)], {}, {}, "run")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["mine.jpg"]


@pytest.mark.parametrize("limit", [0, 10**9])
def test_nothing_comes_from_elsewhere(tmp_path: Path, limit: int) -> None:
    save_some(tmp_path, "a")
    path = write_report(tmp_path, [entry("a", Verdict.ACCEPT)], {}, {}, "run", embed_limit_bytes=limit)
    page, text = parsed(path), path.read_text(encoding="utf-8")
    for _, name, value in page.attributes:
        if name in ("src", "href"):
            assert re.match(r"#|data:image/|pictures/[\w-]+\.\w+$", value), value
    assert not re.search(
        r"//|@import|url\(", re.sub(r"^\s*//.*|; //.*| // .*|base64,\S+", "", text, flags=re.MULTILINE)
    )
    policy = next(value for tag, name, value in page.attributes if (tag, name) == ("meta", "content"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [value for _, name, value in page.attributes if name == "style"]


def test_report_of_a_real_pair(shots: dict[str, Any], tmp_path: Path) -> None:
    captured = shots["moving"].captured()
    pictures = pair_pictures(captured, align_pair(captured, None, AlignmentSettings()), None, Rendering.none())
    save_pictures(tmp_path, "a", "00", pictures)
    page = parsed(write_report(tmp_path, [entry("a", Verdict.ACCEPT), entry("b", Verdict.ACCEPT)], {}, {}, "run"))
    assert len(page.images) == len(SHOWN)
    assert "region that differs (no blur mask)" in words(page)
    assert "No pictures were made of this pair" in words(page)


def test_limits_come_from_the_settings() -> None:
    limits = find_limits(SETTINGS["quality"])
    assert limits["static_psnr_db"] == Limit(low=25.0)
    assert limits["residual_p95_px"] == Limit(high=0.4)
    assert limits["gain"] == Limit(0.5, 2.0)
    assert "parallax_tiles" not in limits  # says when parallax counts: few tiles are no fault
    assert find_limits({}) == {}
    assert limit_text("gain", limits["gain"]) == "0.5 to 2 x"
    assert limit_text("saturated", limits["saturated"]) == "at most 40 %"
    assert limits["gain"].broken(2.1)
    assert not limits["gain"].broken(float("nan"))


def test_measures_in_their_own_digits() -> None:
    assert measure_text("saturated", 0.1234) == "12.3 %"
    assert measure_text("saturated", 0.1234, unit=False) == "12.3"
    assert measure_text("residual_p50_px", float("nan")) == "–"
    assert measure_text("mirrored", 1.0) == "yes"
    assert measure_text("refinement_degree", 1.0) == "affine"
    assert measure_text("refinement_degree", -1.0) == "none"
    assert measure_text("refinement_degree", 1.0, unit=False) == "1"


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        ("parallax: 19% of moving tiles re-appear; drift", "parallax"),
        ("only 3% of the tiles stood still (limit 15%): the alignment", "only … of the tiles stood still"),
        ("static PSNR is 20.1 dB (limit 25 dB)", "static PSNR is …"),
        ("", "no reason given"),
    ],
)
def test_reasons_are_counted_by_kind(reasons: str, kind: str) -> None:
    assert reason_kind(reasons) == kind


def test_kinds_of_reasons_are_counted_most_frequent_first() -> None:
    entries = [
        entry("a", Verdict.REJECT, "b: 1"),
        entry("b", Verdict.REJECT, "a: 1"),
        entry("c", Verdict.REJECT, "b: 2"),
    ]
    assert list(reason_kinds([*entries, entry("d", Verdict.ACCEPT)]).items()) == [("b", 2), ("a", 1)]
