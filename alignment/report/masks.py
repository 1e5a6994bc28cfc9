"""Showing masks in a report that were made after its pictures: methods that look at whole scenes come last."""

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from localblur.alignment.report.pictures import mask_overlay, picture_name, read_about
from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, write_json
from localblur.datasets.images import read_channels
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import PairsFile


def show_masks(report: Path, pairs: PairsFile) -> None:
    """Redraw the mask pictures that were left in a report's folder while its pairs had no masks yet.

    Where there is no data is taken from the old picture. Pictures that show a mask already, and pairs that got none,
    stay as they are, so an interrupted call can be repeated.
    """
    for entry in pairs.scenes:
        for index, name in enumerate(pairs.names(entry.name)):
            about = read_about(report, entry.name, name)
            mask = pairs.read_mask(entry.name, index, 0, 0, entry.height, entry.width)
            if about is None or about.masked or mask is None:
                continue
            path = report / picture_name(entry.name, name, "mask")
            old = read_channels(path)
            if old.ndim != 3 or old.shape[2] != 4:
                raise LocalblurError(f"{path} is not the picture of a mask; delete the report and repeat the run")
            lost = ((old[..., 3] > 0) & ~old[..., :3].any(axis=2)).astype(np.uint8)
            lost = cv2.resize(lost, (entry.width, entry.height), interpolation=cv2.INTER_NEAREST)
            overlay = mask_overlay(binary_mask(mask), lost > 0)
            with atomic_path(path, durable=False) as temporary:
                cv2.imwrite(str(temporary), cv2.cvtColor(overlay, cv2.COLOR_RGBA2BGRA))
            write_json(report / picture_name(entry.name, name, "about"), asdict(replace(about, masked=True)))
