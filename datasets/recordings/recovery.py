"""Bringing the files of a recording back to order after its writer was killed."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from localblur.common.errors import LocalblurError
from localblur.datasets.recordings.journal import Journal, read_journal
from localblur.datasets.recordings.recording_files import FEED_PREFIX, JOURNAL_NAME, frame_number


@dataclass
class RecoveryReport:
    """What recovery found: journals that ended in a torn line, and files without a journal line, both removed."""

    torn: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.torn or self.removed)


def recover_files(folder: Path) -> RecoveryReport:
    """Cut off torn last lines and remove what has no line; whoever calls this is the recording's only writer.

    Raises:
        LocalblurError: if a journal is damaged before its last line, or frames have no line that a kill cannot leave
            without one; the group is left as it is then.
    """
    report = RecoveryReport()
    for path in sorted(folder.glob(f"*/*/{JOURNAL_NAME}")):
        journal = read_journal(path)
        orphans = _orphans(path.parent, journal)
        if journal.torn:
            with path.open("rb+") as file:
                file.truncate(journal.good_bytes)
            report.torn.append(path)
        if path.parent.parent.name == "scenes":
            numbers = {pair.index for pair in journal.pairs}
            truths = (folder / "truth" / path.parent.name).glob("*.npz")
            orphans += [file for file in truths if file.stem.isdigit() and int(file.stem) not in numbers]
        for orphan in sorted(orphans):
            orphan.unlink()
            report.removed.append(orphan)
    for feed in sorted(folder.glob(f"{FEED_PREFIX}*")):
        shutil.rmtree(feed)
        report.removed.append(feed)
    for unfinished in sorted(folder.glob(".*.part.*")):  # of the manifest or the list of checksums
        unfinished.unlink()
        report.removed.append(unfinished)
    return report


def _orphans(group: Path, journal: Journal) -> list[Path]:
    """Frame files without a journal line that a kill can have left: `.part` files and those of one pair in the making.

    Raises:
        LocalblurError: if there are others, which a damaged journal may have forgotten.
    """
    kept = {record.name for pair in [*journal.pairs, *journal.replaced] for record in pair.frames.values()}
    orphans = []
    for file in sorted(group.iterdir()):
        number = frame_number(file.name)
        if number is None or file.name in kept:
            continue
        index, take, unfinished = number
        if not (unfinished or take or index == journal.next_index):
            raise LocalblurError(
                f"{file} has no line in {JOURNAL_NAME}, and no kill leaves it at that place; restore the journal from a"
                " backup, or move the frame away, then try again"
            )
        orphans.append(file)
    return orphans
