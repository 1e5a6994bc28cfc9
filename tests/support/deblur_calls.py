"""`deblur`, called as a user would, small models and pictures for it."""

from pathlib import Path

import cv2
import numpy as np
import torch
from click.testing import CliRunner, Result

from localblur.training.checkpoint import save_model
from localblur.training.deblur import main
from localblur.training.networks.table import NETWORKS

OPTIONS = {"width": 8, "num_res": 1, "identity_start": False}


def save_random_model(folder: Path, **weights: float) -> Path:
    """A randomly initialised small LBAG; `weights` replaces all values of the named tensors."""
    torch.manual_seed(0)
    module = NETWORKS["lbag"](OPTIONS)
    state = module.state_dict()
    for name, value in weights.items():
        state[name.replace("__", ".")].fill_(value)
    save_model(folder, "lbag", OPTIONS, module, {}, {}, "none")
    return folder


def smooth(rng: np.random.Generator, height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 2)
    scaled = (noise - noise.min()) / (np.ptp(noise) or 1)
    return np.rint(scaled * np.iinfo(dtype).max).astype(dtype)


def deblur(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def one_error(result: Result, code: int = 1) -> str:
    """The only line of a refused call."""
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.output
    assert len(lines) == 1, lines
    return lines[0]
