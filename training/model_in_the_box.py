"""The model that comes with the program."""

from pathlib import Path

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import WEIGHTS_NAME

NAME = "model-in-the-box"
"""Stands for its folder in the settings of a run."""
FOLDER = Path(__file__).parent / "models" / "lbag-small"
"""Data of the package `localblur.training`, which is always installed as files."""


def model_in_the_box() -> Path:
    """The folder of the model that `deblur` uses when none is named.

    Raises:
        LocalblurError: if this copy of the program has none.
    """
    if not (FOLDER / WEIGHTS_NAME).is_file():
        raise LocalblurError("this copy of the program comes without a model; give the folder of one")
    return FOLDER
