"""A small pairs file, and a finished run on it."""

from pathlib import Path

import pytest
from train_calls import call, write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.h5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> tuple[Path, str]:
    run = tmp_path_factory.mktemp("runs") / "run"
    result = call(pairs, "--recipe", "lbag-small", "-o", run, "--seed", 3)
    assert result.exit_code == 0, result.output
    return run, result.output
