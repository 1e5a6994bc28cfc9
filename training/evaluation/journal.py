"""What an interrupted evaluation leaves: the numbers of the pairs it finished, in a file that it continues from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.datasets.store import PairsFile
from localblur.training.evaluation.detection_agreement import Agreement
from localblur.training.evaluation.methods import Baseline, Method, Model, weights_sha256
from localblur.training.evaluation.scoring import Score
from localblur.training.running.data import fingerprint

NAME = "unfinished.jsonl"


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Everything measured on one pair.

    Attributes:
        scores: by method.
        agreements: by method, of the detector; empty without one.
        reference: numbers of the sharp picture that need no reference.
    """

    scores: Mapping[str, Score]
    agreements: Mapping[str, Agreement]
    reference: Mapping[str, float]


class Journal:
    """Results of finished pairs, one line each; a line that a kill cut off counts as never written.

    Args:
        path: the file; it is made with the first result.
        key: identifies what is measured, see `evaluation_key`.
        resume: read what is there.

    Raises:
        LocalblurError: if there are results of another evaluation, or none to continue from.
    """

    def __init__(self, path: Path, key: str, *, resume: bool) -> None:
        self._path, self._key = path, key
        self._done: dict[tuple[str, str, str], PairResult] = {}
        if resume:
            self._read()
        else:
            path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._done)

    def get(self, data: str, scene: str, pair: str) -> PairResult | None:
        """The result of a pair, None if it is not finished."""
        return self._done.get((data, scene, pair))

    def add(self, result: PairResult) -> None:
        """Write a result down."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        begun = self._path.exists()
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            if not begun:
                file.write(json.dumps({"key": self._key}) + "\n")
            file.write(json.dumps(asdict(result)) + "\n")

    def remove(self) -> None:
        """Remove the file: the report holds everything now."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        if not self._path.is_file():
            raise LocalblurError(f"there is no unfinished evaluation in {self._path.parent}; leave out --resume")
        text = self._path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        try:
            head, *results = [json.loads(line) for line in whole.splitlines()]
            known = [_result(content) for content in results]
            same = head["key"] == self._key
        except (ValueError, KeyError, TypeError) as error:
            raise LocalblurError(f"{self._path} is damaged; remove it and start again") from error
        if not same:
            raise LocalblurError(
                f"{self._path} is of other data, models or settings; give those again, or start anew with --overwrite"
            )
        if len(whole) < len(text):  # else the next line would be glued to the remains of this one
            self._path.write_text(whole, encoding="utf-8", newline="\n")
        for result in known:
            score = next(iter(result.scores.values()))
            self._done[score.data, score.scene, score.pair] = result


def evaluation_key(files: Mapping[str, PairsFile], methods: Sequence[Method], settings: Mapping[str, Any]) -> str:
    """Identifies data, masks and verdicts, the methods with their weights, and the settings.

    Args:
        files: by label.
        methods: what is measured.
        settings: those that decide the numbers of a single pair.
    """
    content: list[Any] = [[label, fingerprint([file])] for label, file in files.items()]
    for method in methods:
        described: Any = None
        if isinstance(method, Model):
            described = [weights_sha256(method.module), method.skipping.model_dump() if method.selective else None]
        elif isinstance(method, Baseline):
            described = method.settings.model_dump(mode="json")
        content.append([method.label, described])
    return hashlib.sha256(json.dumps([content, dict(settings)], sort_keys=True).encode()).hexdigest()


def _result(content: Mapping[str, Any]) -> PairResult:
    return PairResult(
        scores={name: Score(**score) for name, score in content["scores"].items()},
        agreements={name: Agreement(**found) for name, found in content["agreements"].items()},
        reference=content["reference"],
    )
