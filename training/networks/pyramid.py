"""The Gaussian image pyramid DeepDeblur was trained on.

Equal to `skimage.transform.pyramid_gaussian` (defaults) for even sizes: a Gaussian of 2/3 px with symmetric borders,
then each output pixel the mean of 2 x 2. Both are separable and linear, so together they are one kernel of eight taps.
"""

import math

import torch

_SIGMA_PX = 2 / 3
_RADIUS_PX = 3  # four standard deviations, rounded
_GAUSS = [math.exp(-0.5 * (offset / _SIGMA_PX) ** 2) for offset in range(-_RADIUS_PX, _RADIUS_PX + 1)]
_TAPS = [0.5 * (a + b) / sum(_GAUSS) for a, b in zip([*_GAUSS, 0.0], [0.0, *_GAUSS], strict=True)]


def pyramid(image: torch.Tensor, scales: int) -> list[torch.Tensor]:
    """`scales` images, each half the one before it, fine to coarse.

    Args:
        image: (B, C, H, W), H and W multiples of 2 ** (scales - 1).
    """
    levels = [image]
    while len(levels) < scales:
        levels.append(_halve_width(_halve_width(levels[-1]).mT).mT)
    return levels


def _halve_width(image: torch.Tensor) -> torch.Tensor:
    width = image.shape[-1]
    # columns beyond the border, however few there are inside it: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    position = torch.arange(-_RADIUS_PX, width + _RADIUS_PX, device=image.device) % (2 * width)
    padded = image.index_select(-1, torch.minimum(position, 2 * width - 1 - position))
    result = _TAPS[0] * padded[..., 0 : width - 1 : 2]
    for tap, weight in enumerate(_TAPS[1:], start=1):
        result = result + weight * padded[..., tap : tap + width - 1 : 2]
    return result
