"""`train-lbag`, called as a user would, and a small pairs file for it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from click.testing import CliRunner, Result

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.train_lbag import main

SMALL = (
    "steps=4",
    "network.options.width=8",
    "network.options.num_res=1",
    "data.stages=[]",
    "data.patch_px=48",
    "data.batch=2",
    "schedule.warmup_steps=1",
    "validation.patch_px=48",
    "validation.samples=2",
    "checkpoint_every_steps=1",
)


def write_pairs(
    path: Path,
    splits: tuple[str, ...] = ("train", "train", "val"),
    seed: int = 0,
    masked: bool = True,
    **info: Any,
) -> Path:
    """Pairs of 64 x 64 px, a strip of each blurred, one scene for each of `splits`."""
    random = np.random.default_rng(seed)
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for number, split in enumerate(splits):
            coarse = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            sharp = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
            blurred, mask = sharp.copy(), np.zeros((64, 64), np.uint8)
            blurred[20:40, 10:50], mask[20:40, 10:50] = cv2.blur(sharp, (9, 1))[20:40, 10:50], 255
            pair = Pair(
                scene=f"scene{number}",
                info=PairInfo(name="00", **info),
                blurred=blurred,
                sharp=sharp,
                mask=mask if masked else None,
            )
            writer.add(pair, split)
    return path


def call(*arguments: object, small: bool = True) -> Result:
    """`train-lbag` with these arguments, and unless not `small`, settings for a run of seconds."""
    sets = [item for setting in SMALL for item in ("--set", setting)] if small else []
    return CliRunner().invoke(main, [*sets, *map(str, arguments)])


def one_line(result: Result) -> str:
    """The one line of a failed call."""
    lines = [line for line in result.output.splitlines() if "error" in line]
    assert result.exit_code == 1, result.output
    assert len(lines) == 1
    return lines[0]
