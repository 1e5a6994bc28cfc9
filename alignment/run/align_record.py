"""What is left of a run between closing the pairs file and its report, so that a kill there loses neither.

The parts of a run go when its file is finished; from then on a small file beside it, `<output>.unfinished.json`, says
which run it was and what it lost. It goes when masks and report are done.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.datasets.storage.parts import earlier_run, first_difference, parts_folder
from localblur.datasets.storage.writer import BUILDING
from localblur.datasets.store import PairsFile

RECORD_SUFFIX = ".unfinished.json"


class RunRecord:
    """The record of a run.

    Args:
        output: the pairs file.
        run: what makes two calls the same run, plain JSON values.
    """

    def __init__(self, output: Path, run: Mapping[str, Any]) -> None:
        self.output, self.run = output, dict(run)
        self.path = output.with_name(output.name + RECORD_SUFFIX)

    def begin(self, lost: Mapping[str, str]) -> None:
        """Write it; to be called when all pairs are in, before the pairs file is closed."""
        created = (earlier_run(parts_folder(self.output)) or {}).get("created")
        write_json(self.path, {"run": self.run, "created": created, "lost": dict(lost)})

    def lost(self, *, overwrite: bool) -> dict[str, str] | None:
        """The pairs lost by a run whose pairs file is finished but not what follows; None if there is no such run.

        Raises:
            LocalblurError: if there is one but it is another, and not `overwrite`; if the record is damaged.
        """
        if not self.path.is_file() or not self.output.is_file() or (parts_folder(self.output) / BUILDING).exists():
            return None
        content = read_json(self.path)
        if not isinstance(content, dict) or not isinstance(content.get("lost"), dict):
            raise LocalblurError(f"{self.path} is damaged; delete it")
        with PairsFile.open(self.output) as pairs:
            if pairs.created != content.get("created"):
                return None  # of a file that has been replaced since
        difference = first_difference(self.run, content.get("run"))
        if difference is None:
            return {str(label): str(cause) for label, cause in content["lost"].items()}
        if overwrite:
            return None
        raise LocalblurError(
            f"{self.output} is of a run whose masks or report are unfinished, with another {difference};"
            " repeat that run as it was, or pass --overwrite to start afresh"
        )

    def clear(self) -> None:
        """Everything is done: remove the record, and what a kill left of the parts."""
        shutil.rmtree(parts_folder(self.output), ignore_errors=True)
        self.path.unlink(missing_ok=True)
