"""The mean of several exposures of a scene that does not move: calibration frames with less noise."""

import dataclasses

import numpy as np

from localblur.acquisition.pairing.pairing import CapturedPair, Pairer, PairLost
from localblur.acquisition.recording.pair_writer import Buffers


class AveragingTaker:
    """Takes pairs that are each the mean of several exposures, rounded to whole DN.

    Noise of single exposures is above 1 DN, so the mean is limited by what is left of it and not by rounding.

    Args:
        pairer: takes the single exposures.
        count: how many; 1 hands pairs through.
    """

    def __init__(self, pairer: Pairer, count: int) -> None:
        self._pairer, self._count = pairer, count
        self._sums: tuple[np.ndarray, np.ndarray] | None = None

    def take(self, buffers: Buffers) -> CapturedPair:
        """The next pair, in the buffers.

        Raises:
            PairLost: if any of the exposures is lost; the others are dropped with it.
        """
        if self._count == 1:
            return self._pairer.take(*buffers)
        if self._sums is None:
            self._sums = np.zeros(buffers.blurred.shape, np.uint32), np.zeros(buffers.sharp.shape, np.uint32)
        blurred_sum, sharp_sum = self._sums
        for total in self._sums:
            total[...] = 0
        lost: list[str] = []
        for _ in range(self._count):
            try:
                pair = self._pairer.take(*buffers)
            except PairLost as failure:
                failure.lost_before = (*lost, *failure.lost_before)
                raise
            lost += pair.lost_before
            blurred_sum += pair.blurred.data
            sharp_sum += pair.sharp.data
        for buffer, total in zip(buffers, self._sums, strict=True):
            np.copyto(buffer, (total + self._count // 2) // self._count, casting="unsafe")
        return dataclasses.replace(pair, lost_before=tuple(lost))
