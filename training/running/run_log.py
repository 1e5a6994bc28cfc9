"""What a run writes about itself: `metrics.jsonl`, one JSON record per line; the same and pictures for tensorboard.

Weights & Biases, where it is installed and asked for, gets the records too.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import torch

from localblur.common.errors import LocalblurError
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
        wandb_project: also log there; None does not.

    Raises:
        LocalblurError: if `wandb_project` is given and wandb is not installed.
    """

    def __init__(
        self, folder: Path, first_step: int, *, writing: bool = True, wandb_project: str | None = None
    ) -> None:
        self._path = folder / LOG_NAME
        self._file: IO[str] | None = None
        self._board: SummaryWriter | None = None
        self._wandb: Any = None
        if not writing:
            return
        if wandb_project is not None:
            self._wandb = _open_wandb(wandb_project, folder)
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
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one record, `{"kind": ..., "step": ..., **values}`; values that are not finite become null."""
        if self._file is None or self._board is None:
            return
        record = {"kind": kind, "step": step, **{name: _finite(value) for name, value in values.items()}}
        self._file.write(_line(record))
        self._file.flush()
        finite = {f"{kind}/{name}": value for name, value in values.items() if math.isfinite(value)}
        for name, value in finite.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
        if self._wandb is not None:
            self._wandb.log({**finite, "step": step})

    def add_pictures(self, step: int, pictures: Sequence[torch.Tensor]) -> None:
        """Show pictures, each (3, H, W) in [0, 1], in tensorboard."""
        if self._board is None:
            return
        for number, picture in enumerate(pictures):
            self._board.add_image(f"validation/{number:02d}", picture.clamp(0, 1), step)
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


def _open_wandb(project: str, folder: Path) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise LocalblurError(
            "wandb_project is set but wandb is not installed; pip install wandb, or --set wandb_project=null"
        ) from error
    # a resumed run goes on as the same one; another folder of that name is another run
    place = folder.resolve()
    identity = f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    return wandb.init(project=project, name=place.name, id=identity, resume="allow", dir=str(folder))


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
