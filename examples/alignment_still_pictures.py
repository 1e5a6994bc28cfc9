"""Pictures of docs/alignment.md about what stood still: noise, colour bias, sharpness, static PSNR."""

from dataclasses import replace

import cv2
import numpy as np
from alignment_cases import LIMITS, SIZE, Cases
from alignment_panels import BLUE, GREEN, RED, Array, bare, coded, heat, panels, show, standing
from matplotlib.figure import Figure

from localblur.alignment.judging.quality import measure_quality
from localblur.alignment.registration.registration_level import luma, stabilised


def draw_psnr(cases: Cases) -> Figure:
    """Static PSNR censors itself: what does not fit counts as moving."""
    figure, axes = panels(4)
    for left, right, case, name in (
        (axes[0], axes[1], cases.good, "good"),
        (axes[2], axes[3], cases.parallax, "parallax"),
    ):
        aligned = case.judged.aligned
        heat(left, coded(aligned.blurred), coded(aligned.sharp), f"{name}: the difference")
        still = aligned.valid & ~aligned.saturated & ~aligned.moving
        kept = np.where(still[..., None], coded(aligned.blurred), coded(aligned.sharp))
        heat(right, kept, coded(aligned.sharp), f"what counts: {case.judged.quality['static_psnr_db']:.1f} dB")
    return figure


def draw_noise(cases: Cases) -> Figure:
    """Differences of what stood still, and what the noise of both cameras explains of them."""
    figure, axes = panels(3)
    levels = np.linspace(-16, 16, 129)
    for at, case, name in (
        (axes[0], cases.good, "a good pair"),
        (axes[1], cases.overexposed, "more light in B"),
        (axes[2], cases.textureless, "a bare wall"),
    ):
        aligned, quality = case.judged.aligned, case.judged.quality
        difference = (coded(aligned.blurred) - coded(aligned.sharp))[standing(aligned)].ravel() * 255
        at.hist(difference, levels, density=True, color=BLUE, alpha=0.35, label="difference")
        sigma = np.hypot(quality["noise_sharp"], quality["noise_blurred"])
        bell = np.exp(-((levels / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
        at.plot(levels, bell, color=RED, label="noise of both")
        at.set(xlabel="blurred - sharp, levels of 255", yticks=[])
        at.set(title=f"{name}: S {quality['noise_sharp']:.1f}, B {quality['noise_blurred']:.1f} levels,"
               f"\nPSNR {quality['psnr_gap_db']:.1f} dB below noise")  # fmt: skip
    axes[0].legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def draw_color_bias(cases: Cases) -> Figure:
    """Colours that are left, of a good pair and of one whose camera B changed its white balance."""
    aligned = cases.good.judged.aligned
    tinted_light = aligned.blurred * np.array([1.06, 1, 0.97], np.float32)
    changed = measure_quality(replace(aligned, blurred=tinted_light), LIMITS)
    still = standing(aligned)
    figure, axes = panels(3)
    for at, light, quality, name in (
        (axes[0], aligned.blurred, cases.good.judged.quality, "a good pair"),
        (axes[1], tinted_light, changed, "red x 1.06, blue x 0.97"),
    ):
        difference = cv2.GaussianBlur(coded(light) - coded(aligned.sharp), (0, 0), 4)[..., 0] * 255
        difference[~still] = np.nan
        drawn = at.imshow(difference, cmap="RdBu_r", vmin=-6, vmax=6)
        bare(at, f"{name}: {quality['color_bias']:.2f} levels")
    figure.colorbar(drawn, ax=axes[1], label="red, blurred - sharp, levels", shrink=0.8)
    channels = ("red", "green", "blue")
    axes[2].bar(channels, [changed[f"color_bias_{name}"] for name in channels], color=[RED, GREEN, BLUE], width=0.5)
    axes[2].axhline(0, color="black", linewidth=0.8)
    axes[2].set(ylabel="median, levels", title="its medians by channel")
    return figure


def draw_sharpness(cases: Cases) -> Figure:
    """Detail of both cameras, of a good pair and of one with camera B out of focus."""
    figure, axes = panels(4)
    rows, columns = slice(200, 270), slice(60, 153)
    show(axes[0], coded(cases.good.judged.aligned.sharp)[rows, columns], "camera S")
    for at, case, name in ((axes[1], cases.good, "camera B"), (axes[2], cases.defocused, "B out of focus")):
        show(at, coded(case.judged.aligned.blurred)[rows, columns], f"{name}: {case.judged.quality['sharpness']:.2f}")
    for case, color, label in ((cases.defocused, RED, "out of focus"), (cases.good, GREEN, "good")):
        aligned = case.judged.aligned
        energies = [block_energy(light, standing(aligned)) for light in (aligned.sharp, aligned.blurred)]
        axes[3].loglog(*energies, ".", markersize=1.5, color=color, label=label)
        ends = np.array([2e-5, 2e-2])
        axes[3].plot(ends, case.judged.quality["sharpness"] ** 2 * ends, color=color, linewidth=0.8)
    axes[3].set(xlabel="gradient energy of blocks, S", ylabel="B", xlim=(2e-5, 2e-2), ylim=(2e-5, 2e-2))
    axes[3].set(title="lines: sharpness squared")
    axes[3].legend(frameon=False, markerscale=5, fontsize=8)
    return figure


def block_energy(light: Array, still: Array) -> Array:
    """Mean squared gradient of stabilised luma over blocks of 8 x 8 pixels that stood still."""
    value = stabilised(luma(light))
    squares = np.zeros_like(value)
    squares[:-1] += np.diff(value, axis=0) ** 2
    squares[:, :-1] += np.diff(value, axis=1) ** 2
    size = (SIZE[0] // 8, SIZE[1] // 8)
    kept = cv2.resize(still.astype(np.float32), size, interpolation=cv2.INTER_AREA) == 1
    return np.asarray(cv2.resize(squares, size, interpolation=cv2.INTER_AREA)[kept])
