"""Networks that look at the whole image at once but were run in windows: on how many pairs, and what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass

from localblur.datasets.images import from_unit, to_array
from localblur.training.evaluation.methods import Model
from localblur.training.evaluation.run import PairReference
from localblur.training.inference.engine import Engine, TorchEngine
from localblur.training.inference.restore import choose_tiling, window_deviation
from localblur.training.inference.tiling import Tiling


@dataclass(frozen=True, kw_only=True)
class WindowEffect:
    """How windows changed the result of a network with global statistics.

    Attributes:
        pairs: that were too large to be restored at once.
        levels: mean change on the first of them, levels of 255; see `window_deviation`.
    """

    pairs: int
    levels: float


def window_effect(model: Model, pairs: Sequence[PairReference]) -> WindowEffect | None:
    """What windows did to the numbers of `model`; None for networks that do not care, or without windows."""
    if not model.module.global_statistics:
        return None
    engine = TorchEngine(model.module, model.precision)
    divided = [(pair, tiling) for pair in pairs if (tiling := _tiling(engine, model, pair)) is not None]
    if not divided:
        return None
    first, tiling = divided[0]
    levels = window_deviation(engine, from_unit(to_array(first.read().blurred), 8), tiling)
    return WindowEffect(pairs=len(divided), levels=levels)


def _tiling(engine: Engine, model: Model, pair: PairReference) -> Tiling | None:
    """The windows a pair was divided into; None for a single one."""
    y0, x0, y1, x1 = pair.file.valid_box(pair.scene, pair.index)
    tiling = choose_tiling(engine, y1 - y0, x1 - x0, tile=model.tile)
    return None if tiling is None or max(y1 - y0, x1 - x0) <= tiling.tile else tiling
