"""Classical deconvolution as a baseline: Wiener and Richardson-Lucy (scikit-image), in linear light.

They invert b = k * I with one kernel for the whole picture, so they show what a known, uniform blur allows, and what it
does to pictures that are blurred in places only. The kernel is given, assumed, or fitted to the sharp picture, which no
honest method may see: an upper bound.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from skimage import restoration

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray, srgb_decode, srgb_encode, to_array, to_tensor
from localblur.datasets.scenes.trajectories import line_trajectory, rasterise

BoolArray = npt.NDArray[np.bool_]

_WEIGHT = 1e-3
"""Regularisation of a fitted kernel, as a share of the mean power of the sharp picture's gradients."""
_LEAST_MARGIN_PX = 30
_TAPERS = 2
_FAINT = 0.03
"""What of a fitted kernel is below this share of its peak is noise."""


class ClassicalSettings(Settings):
    """How a picture is deconvolved.

    Attributes:
        method: `wiener` or `richardson-lucy`.
        kernel: `oracle` fits it to the sharp picture; `gaussian` and `line` assume it.
        kernel_px: odd side of a fitted kernel; it must hold the longest blur.
        sigma_px: of the Gaussian. length_px, angle_deg: of the line, from x (right) towards y (down).
        balance: of Wiener: how much smoothness counts against the data.
        iterations: of Richardson-Lucy; more are sharper, noisier, and ring more.
    """

    method: Literal["wiener", "richardson-lucy"] = "richardson-lucy"
    kernel: Literal["oracle", "gaussian", "line"] = "oracle"
    kernel_px: int = Field(default=41, ge=3, le=255)
    sigma_px: float = Field(default=2.0, gt=0, le=50)
    length_px: float = Field(default=15.0, gt=0, le=200)
    angle_deg: float = 0.0
    balance: float = Field(default=1e-3, gt=0)
    iterations: int = Field(default=30, ge=1, le=1000)

    @model_validator(mode="after")
    def _check(self) -> "ClassicalSettings":
        if self.kernel_px % 2 == 0:
            raise ValueError(f"kernel_px must be odd, a kernel has a middle pixel; got {self.kernel_px}")
        return self


BASELINES: Mapping[str, ClassicalSettings | None] = MappingProxyType(
    {
        "none": None,
        "wiener": ClassicalSettings(method="wiener"),
        "richardson-lucy": ClassicalSettings(method="richardson-lucy"),
    }
)
"""Baselines by name; `none` leaves the blurred picture as it is."""


def restore_classically(
    blurred: torch.Tensor,
    settings: ClassicalSettings | None,
    *,
    sharp: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    kernel: FloatArray | None = None,
) -> torch.Tensor:
    """Deconvolve a batch.

    Args:
        blurred: (B, 3, H, W), sRGB-coded in [0, 1].
        settings: an entry of `BASELINES`; None returns `blurred`.
        sharp: the same shape, for kernel `oracle`.
        mask: (B, 1, H, W), above 0.5 where blurred: the kernel is fitted there, and nothing else is changed.
        kernel: (k, k), odd, sums to 1: used instead of what `settings` say.

    Returns:
        (B, 3, H, W) float32 in [0, 1], on the device of `blurred`.

    Raises:
        LocalblurError: if a sharp picture is needed and missing, shapes differ, or the kernel does not fit.
    """
    if settings is None:
        return blurred
    if sharp is not None and sharp.shape != blurred.shape:
        raise LocalblurError(f"sharp is {tuple(sharp.shape)} but blurred is {tuple(blurred.shape)}; give a pair")
    restored = []
    for index in range(blurred.shape[0]):
        pair = [None if batch is None else to_array(batch[index : index + 1]) for batch in (blurred, sharp)]
        where = None if mask is None else to_array(mask[index : index + 1])[..., 0] > 0.5
        if where is not None and not where.any():
            restored.append(blurred[index].detach().float().cpu())
            continue
        chosen = kernel if kernel is not None else _choose_kernel(pair, settings, where)
        image = to_array(blurred[index : index + 1])
        light = deconvolve(srgb_decode(image), chosen, settings)
        coded = srgb_encode(light)
        if where is not None:
            coded = np.where(where[..., None], coded, image)
        restored.append(to_tensor(coded))
    return torch.stack(restored).to(blurred.device)


def deconvolve(blurred: FloatArray, kernel: FloatArray, settings: ClassicalSettings) -> FloatArray:
    """Deconvolve linear light, (H, W, 3), float32, by a kernel (k, k): float32 in [0, 1].

    Raises:
        LocalblurError: if the kernel is not square and odd, does not sum to 1, or is larger than the picture.
    """
    size = kernel.shape[0]
    if kernel.ndim != 2 or kernel.shape[1] != size or size % 2 == 0 or abs(float(kernel.sum()) - 1) > 1e-3:
        raise LocalblurError(f"a kernel must be square, odd and sum to 1; got {kernel.shape}, sum {kernel.sum():.4g}")
    if size > min(blurred.shape[:2]):
        raise LocalblurError(
            f"a kernel of {size} px needs a picture as large, got {blurred.shape[1]}x{blurred.shape[0]}"
        )
    margin = min(max(2 * size, _LEAST_MARGIN_PX), min(blurred.shape[:2]) - 1)
    padded = _tapered(blurred, kernel, margin)
    planes = []
    for channel in range(3):
        plane = np.ascontiguousarray(padded[..., channel])
        if settings.method == "wiener":
            plane = restoration.wiener(plane, kernel, settings.balance, clip=False)
        else:
            plane = restoration.richardson_lucy(
                np.maximum(plane, 0), kernel, num_iter=settings.iterations, clip=False, filter_epsilon=1e-6
            )
        planes.append(plane)
    inner = np.stack(planes, axis=-1)[margin:-margin, margin:-margin]
    clipped: FloatArray = np.clip(inner, 0, 1).astype(np.float32)
    return clipped


def _tapered(blurred: FloatArray, kernel: FloatArray, margin: int) -> FloatArray:
    """Mirrored at its borders, and led over to the opposite side as if it had been blurred across: deconvolution by
    Fourier transforms takes pictures for periodic, and a step there would ring far into them.
    """
    padded = np.pad(blurred, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    shape = padded.shape[:2]
    centred = np.zeros(shape)
    centred[: kernel.shape[0], : kernel.shape[1]] = kernel
    spectrum = np.fft.rfft2(np.roll(centred, [-(side // 2) for side in kernel.shape], axis=(0, 1)))[..., None]
    ramps = (np.minimum(1, (0.5 + np.minimum(np.arange(n), n - 1 - np.arange(n))) / margin) for n in shape)
    weight = np.outer(*(np.sin(0.5 * np.pi * ramp) ** 2 for ramp in ramps))[..., None]
    for _ in range(_TAPERS):
        across = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, s=shape, axes=(0, 1))
        padded = weight * padded + (1 - weight) * across
    tapered: FloatArray = np.asarray(padded, np.float32)
    return tapered


def assumed_kernel(settings: ClassicalSettings) -> FloatArray:
    """The kernel that `gaussian` or `line` assume, float32, (k, k), sums to 1."""
    if settings.kernel == "line":
        return rasterise(line_trajectory(settings.length_px, settings.angle_deg))
    reach = max(1, round(3 * settings.sigma_px))
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / settings.sigma_px) ** 2)
    kernel = np.outer(profile, profile)
    normalised: FloatArray = (kernel / kernel.sum()).astype(np.float32)
    return normalised


def fit_kernel(
    blurred: FloatArray,
    sharp: FloatArray,
    size: int,
    where: BoolArray | None = None,
) -> FloatArray:
    """The one kernel that best turns the sharp picture into the blurred one: least squares on gradients.

    Args:
        blurred, sharp: linear, (H, W, 3).
        size: odd side of the kernel, at most that of the picture.
        where: (H, W); the box around it, grown by the kernel, is looked at. None: all.

    Returns:
        float32, (size, size), not negative, sums to 1; a single point if the pictures tell nothing.

    Raises:
        LocalblurError: if the picture is smaller than the kernel.
    """
    if size > min(blurred.shape[:2]):
        raise LocalblurError(
            f"a kernel of {size} px needs a picture as large, got {blurred.shape[1]}x{blurred.shape[0]}"
        )
    rows, columns = _box(blurred.shape[:2], where, size)
    window = np.outer(*(np.hanning(part.stop - part.start + 2)[1:-1] for part in (rows, columns)))
    cross, power = 0.0, 0.0
    for axis in (0, 1):
        before, after = (np.gradient(image[rows, columns], axis=axis) * window[..., None] for image in (sharp, blurred))
        source, target = np.fft.rfft2(before, axes=(0, 1)), np.fft.rfft2(after, axes=(0, 1))
        cross = cross + (np.conj(source) * target).sum(axis=-1)
        power = power + (np.abs(source) ** 2).sum(axis=-1)
    solved = np.fft.irfft2(cross / (power + _WEIGHT * np.mean(power) + 1e-12), s=window.shape)
    half = size // 2
    kernel = np.roll(solved, (half, half), axis=(0, 1))[:size, :size]
    kernel = np.where(kernel > _FAINT * max(float(kernel.max()), 0.0), kernel, 0)
    if not kernel.sum() > 0:
        kernel = np.zeros((size, size))
        kernel[half, half] = 1
    normalised: FloatArray = (kernel / kernel.sum()).astype(np.float32)
    return normalised


def _choose_kernel(
    pair: list[FloatArray | None],
    settings: ClassicalSettings,
    where: BoolArray | None,
) -> FloatArray:
    blurred, sharp = pair
    if settings.kernel != "oracle":
        return assumed_kernel(settings)
    if blurred is None or sharp is None:
        raise LocalblurError("kernel oracle is fitted to the sharp picture: give it, or use kernel gaussian or line")
    size = min(settings.kernel_px, (min(blurred.shape[:2]) - 1) // 2 * 2 + 1)
    return fit_kernel(srgb_decode(blurred), srgb_decode(sharp), size, where)


def _box(shape: tuple[int, ...], where: BoolArray | None, size: int) -> tuple[slice, slice]:
    """Rows and columns around what is blurred, at least as large as the kernel."""
    if where is None:
        return slice(0, shape[0]), slice(0, shape[1])
    parts = []
    for axis, full in ((1, shape[0]), (0, shape[1])):
        found = np.flatnonzero(where.any(axis=axis))
        low, high = max(0, int(found[0]) - size), min(full, int(found[-1]) + 1 + size)
        parts.append(slice(low, max(high, min(full, low + size))))
    return parts[0], parts[1]
