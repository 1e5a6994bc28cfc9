"""Dividing scenes, never pairs, between training, validation and test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.schema import SPLITS

DEFAULT_SPLIT = "train=0.8,val=0.1,test=0.1"


def assign_splits(
    scenes: Sequence[str],
    spec: str = DEFAULT_SPLIT,
    seed: int = 0,
    measure: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Assign every scene to train, val or test.

    Args:
        scenes: names of the scenes; order and repetitions do not matter.
        spec: shares that sum to 1, for example "train=0.8,val=0.1,test=0.1", or a file with "scene split" lines.
        seed: seed of the random assignment by shares.
        measure: a number for every scene (the blurred area, say; NaN where unknown) that every split shall see the
            whole range of, when scenes are assigned by shares.

    Returns:
        Split by scene. Every split with a share gets at least one scene as long as there are enough scenes; with
        fewer, the larger shares come first.

    Raises:
        LocalblurError: if `spec` is neither, or a file does not name every scene.
    """
    names = sorted(set(scenes))
    if "=" in spec and not Path(spec).is_file():
        return _by_shares(names, _parse_shares(spec), seed, measure)
    return _by_file(names, Path(spec))


def _parse_shares(spec: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for item in spec.split(","):
        split, _, value = (piece.strip() for piece in item.partition("="))
        try:
            share = float(value)
        except ValueError:
            share = float("nan")
        if split not in SPLITS or split in shares or not 0 <= share <= 1:
            raise LocalblurError(
                f"--split {spec!r}: {item!r} is wrong; write shares of {', '.join(SPLITS)} like {DEFAULT_SPLIT}"
            )
        shares[split] = share
    if abs(sum(shares.values()) - 1) > 1e-3:
        raise LocalblurError(f"--split {spec!r}: the shares sum to {sum(shares.values()):g}, they must sum to 1")
    return {split: share for split, share in shares.items() if share > 0}


def _by_shares(
    names: list[str], shares: dict[str, float], seed: int, measure: Mapping[str, float] | None
) -> dict[str, str]:
    counts = _counts(len(names), shares)
    random = np.random.default_rng(seed)
    order = [names[i] for i in random.permutation(len(names))]
    if measure is None:
        splits = [split for split, count in counts.items() for _ in range(count)]
    else:
        order.sort(key=lambda name: measure[name] if np.isfinite(measure[name]) else np.inf)
        splits = _spread(counts, random)
    assigned = dict(zip(order, splits, strict=True))
    return {name: assigned[name] for name in names}


def _spread(counts: dict[str, int], random: np.random.Generator) -> list[str]:
    """Every split `count` times, one turn at random in each of `count` equal stretches of the list."""
    turns = [((number + random.random()) / count, split) for split, count in counts.items() for number in range(count)]
    return [split for _, split in sorted(turns)]


def _counts(total: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers near total * share that sum to `total`, at least 1 each while scenes last."""
    by_size = sorted(shares, key=lambda split: -shares[split])
    counts = {split: int(rank < total) for rank, split in enumerate(by_size)}
    for _ in range(total - sum(counts.values())):
        neediest = max(by_size, key=lambda split: total * shares[split] - counts[split])
        counts[neediest] += 1
    return counts


def _by_file(names: list[str], path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(
            f"--split {str(path)!r} is neither shares like train=0.8,val=0.1,test=0.1 nor a readable file: {error}"
        ) from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        content = line.split("#")[0].strip()
        if not content:
            continue
        scene, _, split = (piece.strip() for piece in content.replace("\t", " ").rpartition(" "))
        if not scene or split not in SPLITS:
            raise LocalblurError(f"{path}, line {number}: need 'SCENE {'|'.join(SPLITS)}', got {line.strip()!r}")
        if listed.setdefault(scene, split) != split:
            raise LocalblurError(f"{path}, line {number}: scene {scene} is listed for {listed[scene]} and for {split}")
    missing = [name for name in names if name not in listed]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise LocalblurError(f"{path} has no split for scene {', '.join(missing[:3])}{more}; add a line for each")
    return {name: listed[name] for name in names}
