"""Reading back what `export-dataset --format imagefolder` wrote: pictures listed in `metadata.jsonl`, with all that is
known about each pair."""

import json
import math
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.importers import SPLIT_NAMES, FoundPairs, LayoutOptions, PairFiles, listed_file
from localblur.datasets.pair import PairInfo, Verdict

LIST = "metadata.jsonl"
UNUSABLE = (LocalblurError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What a line that makes no sense may raise."""


def find_imagefolder_pairs(root: Path, options: LayoutOptions) -> FoundPairs:
    """Pairs that the lists `<split>/metadata.jsonl` below `root` name.

    Raises:
        LocalblurError: if `root` is no folder, or has no list.
    """
    if not root.is_dir():
        raise LocalblurError(f"{root} is not a folder; give the folder that holds the splits")
    lists = sorted(path for path in root.rglob(LIST) if path.is_file())
    if not lists:
        raise LocalblurError(f"{root} holds no pairs: expected {{train,val,test}}/{LIST}")
    found = FoundPairs()
    for path in lists:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise LocalblurError(f"cannot read the list {path}: {error}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.pairs.append(_pair(path.parent, line))
            except UNUSABLE as error:
                found.left_out.append(f"{path.relative_to(root)}, line {number}: {' '.join(str(error).split())[:200]}")
    return found


def _pair(folder: Path, line: str) -> PairFiles:
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    pictures = {role: listed_file(folder, str(content[f"{role}_file_name"])) for role in ("blurred", "sharp")}
    mask = content.get("mask_file_name")
    scene, name = str(content["scene"]), str(content["name"])
    return PairFiles(
        scene,
        name,
        pictures["blurred"],
        pictures["sharp"],
        None if mask is None else listed_file(folder, str(mask)),
        SPLIT_NAMES.get(folder.name.lower()),
        _details(name, content),
    )


def _details(name: str, content: dict[str, Any]) -> PairInfo:
    box = content.get("valid_box")
    y0, x0, y1, x1 = (int(value) for value in box) if box else (0, 0, 0, 0)
    return PairInfo(
        name=name,
        exposure_long_ms=_exposure_ms(content.get("exposure_long_ms")),
        exposure_short_ms=_exposure_ms(content.get("exposure_short_ms")),
        valid_box=(y0, x0, y1, x1) if box else None,
        quality={_text(key): _number(value) for key, value in content.get("quality", {}).items()},
        verdict=Verdict(content.get("verdict", Verdict.ACCEPT.value)),
        reasons=_text(content.get("reasons", "")),
        decided_by=_text(content.get("decided_by", "auto")),
    )


def _exposure_ms(value: Any) -> float:
    exposure_ms = _number(value)
    if not (math.isnan(exposure_ms) or 0 < exposure_ms < math.inf):
        raise ValueError(f"an exposure of {exposure_ms:g} ms")
    return exposure_ms


def _text(value: Any) -> str:
    text = str(value)
    text.encode()  # half characters (lone surrogates) can be neither stored nor printed
    return text


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
