"""How one camera's clock runs against another's: an offset and a drift, followed while recording.

Two cameras count time from whenever they were switched on, and their crystals differ by up to 100 ppm: after an hour
that is 0.36 s, many frames. So times of two cameras can be compared only through a fit that follows.
"""

from collections import deque

import numpy as np

WINDOW = 256
"""Pairs the line is fitted to: enough to average jitter, few enough to follow a crystal that warms up."""
MIN_POINTS = 4
JITTER_PRIOR_NS = 200e3
DRIFT_PRIOR = 100e-6
"""What a crystal may be off; keeps the drift sane while there are few points close together."""


class ClockFit:
    """Predicts camera S's time of an exposure from camera B's, from the pairs seen so far.

    The difference of the two times is fitted by a line in B's time, by least squares over the last `WINDOW` pairs with
    a Gaussian prior of `DRIFT_PRIOR` on the slope (ridge regression).

    Args:
        offset_ns: a first estimate of S's time minus B's, None if nothing is known.
    """

    def __init__(self, offset_ns: int | None = None) -> None:
        self._anchor_ns = offset_ns
        self._points: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self._line: tuple[float, float, int] | None = None

    @property
    def settled(self) -> bool:
        """True once the fit rests on enough pairs."""
        return len(self._points) >= MIN_POINTS

    @property
    def drift_ppm(self) -> float:
        """How much faster S's clock runs than B's, in parts per million."""
        return 1e6 * self._fit()[1] if self._points else 0.0

    def add(self, blurred_ns: int, sharp_ns: int) -> None:
        """Take the times of a pair that belongs together."""
        self._points.append((blurred_ns, sharp_ns - blurred_ns))
        self._line = None

    def deviation_ns(self, blurred_ns: int, sharp_ns: int) -> float | None:
        """How far S's time lies from what B's predicts; None while nothing is known."""
        if not self._points:
            return None if self._anchor_ns is None else float(sharp_ns - blurred_ns - self._anchor_ns)
        offset, drift, origin = self._fit()
        return float(sharp_ns - blurred_ns - self._points[0][1]) - offset - drift * (blurred_ns - origin)

    def _fit(self) -> tuple[float, float, int]:
        if self._line is None:
            first_time, first_difference = self._points[0]
            # differences to the first point: nanoseconds since 1970 do not fit a float's 53 bits
            times = np.array([time - first_time for time, _ in self._points], float)
            differences = np.array([difference - first_difference for _, difference in self._points], float)
            centred = times - times.mean()
            precision = (JITTER_PRIOR_NS / DRIFT_PRIOR) ** 2
            drift = float(centred @ (differences - differences.mean()) / (centred @ centred + precision))
            self._line = float(differences.mean() - drift * times.mean()), drift, first_time
        return self._line
