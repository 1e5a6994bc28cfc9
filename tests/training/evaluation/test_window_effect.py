"""What evaluations say of networks that look at the whole picture at once but were run in windows."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.checkpoint import ModelCard
from localblur.training.evaluation.methods import Model
from localblur.training.evaluation.run import choose_pairs, open_files
from localblur.training.evaluation.window_effect import WindowEffect, window_effect
from localblur.training.inference.restore import Tile
from localblur.training.networks.base import parameter_count
from localblur.training.networks.table import NETWORKS

TILE_PX = 192
OPTIONS = {"deblurgan": {"width": 4, "num_res": 1, "dropout": 0.0}, "tiny": {}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One pair that fits into a window, and one of twice its width whose halves differ."""
    path = tmp_path_factory.mktemp("data") / "pairs.h5"
    rng = np.random.default_rng(0)
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for scene, width in (("narrow", TILE_PX), ("wide", 2 * TILE_PX)):
            picture = rng.integers(0, 256, (64, width, 3), dtype=np.uint8)
            picture[:, width // 2 :] //= 4
            writer.add(Pair(scene=scene, info=PairInfo(name="00"), blurred=picture, sharp=picture), "test")
    return path


def effect(data: Path, network: str, tile: Tile) -> WindowEffect | None:
    torch.manual_seed(0)
    module = NETWORKS[network](OPTIONS[network]).eval()
    card = ModelCard(network=network, options=OPTIONS[network], parameters=parameter_count(module))
    model = Model(label=network, path=data, module=module, card=card, tile=tile)
    with ExitStack() as stack:
        return window_effect(model, choose_pairs(open_files([data], stack), "test")[0])


def test_pairs_that_were_divided_are_counted_and_the_change_is_measured(data: Path) -> None:
    found = effect(data, "deblurgan", TILE_PX)
    assert found is not None
    assert found.pairs == 1
    assert 0.01 < found.levels < 255


@pytest.mark.parametrize(("network", "tile"), [("deblurgan", "none"), ("tiny", TILE_PX)])
def test_without_windows_or_without_global_statistics_there_is_nothing_to_say(
    data: Path, network: str, tile: Tile
) -> None:
    assert effect(data, network, tile) is None
