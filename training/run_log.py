"""What a run writes about itself: `metrics.jsonl`, one JSON record per line, and the same as tensorboard scalars."""

import json
import math
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from localblur.common.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_NAME = "metrics.jsonl"


class RunLog:
    """Appends records of a run; records after `first_step`, from a run that was killed later, are dropped.

    Args:
        folder: the run's folder.
        first_step: number of finished steps when the run begins or continues.
        writing: False on all but one process of a run: then nothing is read or written.
    """

    def __init__(self, folder: Path, first_step: int, *, writing: bool = True) -> None:
        self._path = folder / LOG_NAME
        self._file: IO[str] | None = None
        self._board: SummaryWriter | None = None
        if not writing:
            return
        kept = [record for record in read_log(folder) if record["step"] <= first_step] if first_step else []
        write_text(self._path, "".join(_line(record) for record in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _open_board(folder / "tensorboard", first_step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one record, `{"kind": ..., "step": ..., **values}`; values that are not finite become null."""
        if self._file is None or self._board is None:
            return
        record = {"kind": kind, "step": step, **{name: _finite(value) for name, value in values.items()}}
        self._file.write(_line(record))
        self._file.flush()
        for name, value in values.items():
            if math.isfinite(value):
                self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole records of a run; a last line torn by a kill is left out. Empty when there is no log."""
    path = folder / LOG_NAME
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records


def _open_board(folder: Path, first_step: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
