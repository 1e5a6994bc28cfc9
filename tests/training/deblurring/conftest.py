"""A small model, and a photograph."""

from pathlib import Path

import numpy as np
import pytest
from deblur_calls import save_random_model, smooth

from localblur.datasets.images import write_image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def photo(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "in" / "photo.png"
    write_image(path, smooth(rng, 37, 50))
    return path
