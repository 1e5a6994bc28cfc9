"""The pictures of docs/alignment.md, made with the simulated rig: `python examples/alignment_pictures.py`.

Every number in them is measured while they are made. `--report report/index.html` photographs a report instead, with
an installed Chromium.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import cv2
import matplotlib as mpl
import numpy as np
from alignment_cases import LIMITS, SETTINGS, SIZE, Cases
from alignment_panels import (
    BLUE,
    GREEN,
    RED,
    bare,
    coded,
    error_px,
    grid,
    heat,
    panels,
    share,
    show,
    tile_panel,
    tinted,
    told,
)
from alignment_still_pictures import draw_color_bias, draw_noise, draw_psnr, draw_sharpness
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from localblur.alignment.judging.quality import measure_quality
from localblur.alignment.registration.displacement import warp
from localblur.alignment.registration.registration_level import luma, stabilised
from localblur.alignment.registration.tiles import measure_tiles
from localblur.alignment.report.drawings import NOT_MEASURED, TILE_STEPS
from localblur.alignment.report.histogram import BINS, histogram
from localblur.datasets.images import read_image, write_image

DPI = 110


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("docs/images"))
@click.option("--only", help="One picture, by name.")
@click.option("--report", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A report to photograph.")
def main(output: Path, only: str | None, report: Path | None) -> None:
    """Make the pictures of docs/alignment.md."""
    if report is not None:
        photograph(report, output / "alignment-report.jpg")
        return
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
    output.mkdir(parents=True, exist_ok=True)
    cases = Cases()
    for name, draw in PICTURES.items():
        if only is None or only == name:
            path = output / f"alignment-{name}.jpg"
            draw(cases).savefig(path, dpi=DPI, pil_kwargs={"quality": 84})
            print(path)


def photograph(page: Path, path: Path) -> None:
    """The upper part of a report, down to the first pair, as a browser shows it."""
    chromium = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if chromium is None:
        raise click.ClickException("no Chromium is installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,1500"]
        command = [chromium, *flags, "--virtual-time-budget=20000", f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        picture = read_image(shot)
        write_image(path, cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA))
    print(path)


def draw_before_after(cases: Cases) -> Figure:
    """What alignment does to a pair."""
    case = cases.good
    sharp, blurred = coded(case.judged.aligned.sharp), coded(case.judged.aligned.blurred)
    captured = case.captured.blurred.light
    raw = coded(captured * (case.judged.aligned.sharp.mean() / captured.mean()))
    figure, axes = panels(4)
    show(axes[0], coded(captured), "camera B, as captured")
    show(axes[1], sharp, "camera S")
    heat(axes[2], raw, sharp, "difference before")
    heat(axes[3], blurred, sharp, "difference after", figure)
    return figure


def draw_field(cases: Cases) -> Figure:
    """The rig's field, the drift of one pair, and a bumped rig."""
    rig = cases.calibration.field
    figure, axes = panels(3)
    for at, (field, title) in zip(
        axes,
        (
            (None, "the rig's field"),
            (cases.good, "a pair minus it"),
            (cases.bumped, "after a knock"),
        ),
        strict=True,
    ):
        x, y = np.meshgrid(np.linspace(20, SIZE[0] - 21, 11), np.linspace(20, SIZE[1] - 21, 8))
        shift = rig.displacement(x, y) if field is None else field.judged.aligned.field.displacement(x, y)
        if field is not None:
            shift = shift - rig.displacement(x, y)
        length = np.hypot(shift[..., 0], shift[..., 1])
        drawn = at.quiver(x, y, shift[..., 0], shift[..., 1], length, cmap="viridis", angles="xy")
        drawn.set_clim(0, max(1.0, float(length.max())))
        told = "" if field is None else f", drift {field.judged.quality['drift_px']:.2f} px"
        at.set(title=f"{title}: mean {length.mean():.2f} px{told}" if field is None else f"{title}{told}")
        at.set(xlim=(0, SIZE[0]), ylim=(SIZE[1], 0), aspect="equal", xticks=[], yticks=[])
        figure.colorbar(drawn, ax=at, label="px", shrink=0.8)
    return figure


def draw_color(cases: Cases) -> Figure:
    """What each part of the colour model takes away, where nothing moved."""
    case = cases.good
    aligned, model = case.judged.aligned, cases.calibration.color
    still = aligned.valid & ~aligned.saturated & ~aligned.moving
    warped = warp(case.captured.blurred.light, aligned.positions)
    flat = np.eye(1, len(model.vignetting))[0]
    steps = {
        "geometry only": warped,
        "+ 3x4 matrix": replace(model, vignetting=flat).apply(warped),
        "+ vignetting": model.apply(warped),
        "+ exposure gain": aligned.blurred,
    }
    figure, axes = panels(4)
    for at, (title, light) in zip(axes, steps.items(), strict=True):
        difference = cv2.GaussianBlur(coded(light) - coded(aligned.sharp), (0, 0), 2).mean(-1) * 255
        bias = np.abs(difference[still]).mean()
        difference[~still] = np.nan
        drawn = at.imshow(difference, cmap="RdBu_r", vmin=-12, vmax=12)
        bare(at, f"{title}: {bias:.1f} levels")
    figure.colorbar(drawn, ax=axes[-1], label="blurred - sharp, levels", shrink=0.8)
    return figure


def draw_tiles(cases: Cases) -> Figure:
    """Usable tiles and residual shifts, of a good pair and of one that lies off."""
    good = cases.good.judged
    aligned = good.aligned
    across = (np.arange(SIZE[0], dtype=np.float32) / SIZE[0])[None, :, None]
    off = warp(aligned.blurred, grid() + across * np.array([0.5, 0.2], np.float32))
    still = aligned.valid & ~aligned.saturated & ~aligned.moving
    tiles = measure_tiles(aligned.sharp, off, still, aligned.valid, SETTINGS.tiles)
    wrong = measure_quality(replace(aligned, blurred=off, tiles=tiles), LIMITS)
    figure, axes = panels(3)
    tile_panel(axes[0], good.aligned.sharp, good.aligned.tiles, told(good.quality, "a good pair"))
    tile_panel(axes[1], aligned.sharp, tiles, told(wrong, "up to 0.5 px off"))
    empty = cases.textureless.judged
    tile_panel(axes[2], empty.aligned.sharp, empty.aligned.tiles, told(empty.quality, "a bare wall"))
    labels = [f"below {limit:g} px" if np.isfinite(limit) else "more" for limit, *_ in TILE_STEPS]
    swatches = [Rectangle((0, 0), 1, 1, color=color) for _, color, _ in TILE_STEPS]
    swatches.append(Rectangle((0, 0), 1, 1, color=NOT_MEASURED))
    figure.legend(swatches, [*labels, "moved or flat"], loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def draw_correlation(cases: Cases) -> Figure:
    """Lumas of a matching pair and of a mirrored one."""
    figure, axes = panels(4)
    for left, right, case, name in (
        (axes[0], axes[1], cases.good, "good"),
        (axes[2], axes[3], cases.mirrored, "mirrored camera"),
    ):
        aligned = case.judged.aligned
        show(left, coded(aligned.blurred), f"{name}: blurred, aligned")
        first, second = (
            cv2.GaussianBlur(stabilised(luma(light)), (0, 0), 2)[aligned.valid][::37]
            for light in (aligned.sharp, aligned.blurred)
        )
        right.plot(first, second, ".", markersize=1.2, color=BLUE)
        right.set(title=f"correlation {case.judged.quality['correlation']:.2f}", xlabel="luma of sharp, stabilised")
        right.set(ylabel="luma of blurred", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    return figure


def draw_saturated(cases: Cases) -> Figure:
    """Clipped pixels and what else is left out around them."""
    figure, axes = panels(3)
    aligned = cases.bright.judged.aligned
    show(axes[0], coded(aligned.sharp), "glints: sharp")
    show(axes[1], coded(aligned.blurred), "blurred, aligned")
    show(axes[2], tinted(aligned.sharp, aligned.saturated, (1, 0.8, 0.1)), share(cases.bright, "saturated"))
    return figure


def draw_moving(cases: Cases) -> Figure:
    """Pixels that differ by more than noise."""
    figure, axes = panels(3)
    aligned = cases.good.judged.aligned
    show(axes[0], coded(aligned.blurred), "blurred, aligned")
    show(axes[1], coded(aligned.sharp), "sharp")
    show(axes[2], tinted(aligned.blurred, aligned.moving, (1, 0.3, 0.2)), share(cases.good, "moving"))
    return figure


def draw_gain(cases: Cases) -> Figure:
    """The exposure gain of a pair that was exposed 40 % longer."""
    case = cases.overexposed
    aligned = case.judged.aligned
    still = aligned.valid & ~aligned.saturated & ~aligned.moving
    colored = cases.calibration.color.apply(warp(case.captured.blurred.light, aligned.positions))
    figure, axes = panels(2)
    levels = (np.arange(BINS) + 0.5) * 255 / BINS
    for at, light, title in (
        (axes[0], colored, "colours matched, no gain"),
        (axes[1], aligned.blurred, f"gain {case.judged.quality['gain']:.3f}"),
    ):
        at.fill_between(levels, histogram(coded(aligned.sharp)[..., 1], still), color=GREEN, alpha=0.3, label="sharp")
        at.plot(levels, histogram(coded(light)[..., 1], still), color=GREEN, label="blurred")
        at.set(title=title, xlabel="green, sRGB-coded level", yticks=[])
    axes[0].legend(frameon=False)
    return figure


def draw_parallax(cases: Cases) -> Figure:
    """A near layer re-appears shifted; what moved does not re-appear."""
    case = cases.parallax
    aligned, settings = case.judged.aligned, LIMITS.parallax
    lumas = [cv2.GaussianBlur(stabilised(luma(light)), (0, 0), 1) for light in (aligned.sharp, aligned.blurred)]
    x, y = int(0.30 * SIZE[0]), int(0.56 * SIZE[1])
    size, reach = settings.tile_px, settings.reach_px
    match = cv2.matchTemplate(
        lumas[1][y - reach : y + size + reach, x - reach : x + size + reach],
        lumas[0][y : y + size, x : x + size],
        cv2.TM_CCOEFF_NORMED,
    )
    figure, axes = panels(3)
    show(axes[0], coded(aligned.sharp), "sharp: one tile")
    axes[0].add_patch(Rectangle((x, y), size, size, fill=False, color="white", linewidth=1.6))
    heat(axes[1], coded(aligned.blurred), coded(aligned.sharp), "difference")
    drawn = axes[2].imshow(match, extent=(-reach, reach, reach, -reach), cmap="viridis", vmin=0, vmax=1)
    quality = case.judged.quality
    axes[2].set(title=f"match of the tile: {match.max():.2f} at {quality['parallax_px']:.1f} px", xlabel="shift, px")
    figure.colorbar(drawn, ax=axes[2], shrink=0.8)
    axes[0].set_xlabel(f"{quality['parallax']:.0%} of the moving tiles re-appear")
    return figure


def draw_motion(cases: Cases) -> Figure:
    """Motion blur, a late trigger, and swapped cameras."""
    chosen = {"moving things": cases.good, "one frame late": cases.late, "cameras swapped": cases.swapped}
    figure, grid_axes = panels(4, len(chosen))
    for row, (name, case) in zip(grid_axes, chosen.items(), strict=True):
        aligned, quality = case.judged.aligned, case.judged.quality
        show(row[0], coded(aligned.sharp), f"{name}: 'sharp'")
        show(row[1], coded(aligned.blurred), "'blurred'")
        signed = (coded(aligned.blurred) - coded(aligned.sharp)).mean(-1)
        signed[~aligned.valid] = 0
        row[2].imshow(cv2.GaussianBlur(signed, (0, 0), 4), cmap="RdBu_r", vmin=-0.25, vmax=0.25)
        bare(row[2], "difference, smoothed")
        names = ("unexplained", "unexplained_reverse", "own_detail")
        ratio, own = quality["unexplained"] / max(quality["unexplained_reverse"], 1e-6), quality["own_detail"]
        row[3].barh(["unexplained", "reverse", "own detail"], [quality[x] for x in names], color=[BLUE, BLUE, RED])
        row[3].set(xlim=(0, 1), title=f"score {ratio:.2f} + 2 x {own:.2f} = {ratio + 2 * own:.2f}")
        row[3].invert_yaxis()
    return figure


def draw_refinement(cases: Cases) -> Figure:
    """The information test: how well the usable tiles determine a refinement, by its degree."""
    figure, axes = panels(2)
    names = ["translation", "affine", "quadratic", "cubic"]
    for case, color, label in ((cases.good, GREEN, "a good pair"), (cases.textureless, RED, "a bare wall")):
        tiles = case.judged.aligned.tiles
        sigma = [tiles.field_uncertainty_px(degree, *SIZE) for degree in range(4)]
        kept = [value if np.isfinite(value) else np.nan for value in sigma]
        axes[0].semilogy(names, kept, "o-", color=color, label=f"{label}: {case.judged.aligned.refinement}")
    axes[0].axhline(SETTINGS.max_uncertainty_px, color="black", linestyle="--", linewidth=0.8)
    axes[0].set(ylabel="standard deviation in the\nworst corner, px", title="what the tiles determine")
    axes[0].legend(frameon=False)
    errors = {"rig calibration\n+ affine": cases.good, "no static pairs:\ncubic on the pair": cases.uncalibrated}
    found = [error_px(case, cases.good.truth) for case in errors.values()]
    axes[1].bar(list(errors), [mean for mean, _ in found], color=BLUE, width=0.4, label="mean")
    axes[1].bar(list(errors), [p95 - mean for mean, p95 in found], bottom=[mean for mean, _ in found], width=0.4,
                color=BLUE, alpha=0.35, label="95 %")  # fmt: skip
    axes[1].set(ylabel="error against the truth, px", title="calibrated or not")
    axes[1].legend(frameon=False)
    return figure


PICTURES: dict[str, Callable[[Cases], Figure]] = {
    "before-after": draw_before_after,
    "field": draw_field,
    "color": draw_color,
    "tiles": draw_tiles,
    "psnr": draw_psnr,
    "noise": draw_noise,
    "color-bias": draw_color_bias,
    "sharpness": draw_sharpness,
    "correlation": draw_correlation,
    "saturated": draw_saturated,
    "moving": draw_moving,
    "gain": draw_gain,
    "parallax": draw_parallax,
    "motion": draw_motion,
    "refinement": draw_refinement,
}


if __name__ == "__main__":
    main()
