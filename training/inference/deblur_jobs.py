"""What `deblur` is to do: which files are read, which are written; nothing is written here."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing
from localblur.datasets.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mts"}
_INPUT_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
_CAMERA_SUFFIXES = {".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2", ".orf"}
"""What phones and cameras write besides."""
STDIN = Path("-")
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture or video: where it comes from and what is to be written; None where something is not asked for."""

    source: Path
    target: Path
    gate: Path | None = None
    compare: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """Every file that is to be written."""
        return [path for path in (self.target, self.gate, self.compare) if path is not None]

    @property
    def video(self) -> bool:
        """Whether it is a video."""
        return self.source.suffix.lower() in VIDEO_SUFFIXES


def plan_jobs(
    inputs: Sequence[Path], output: Path, *, gates: Path | None = None, compare: bool = False, overwrite: bool = False
) -> list[Job]:
    """Find the pictures and decide the names of the outputs.

    Args:
        inputs: pictures, videos, folders of them.
        gates: folder for the gates.

    Raises:
        LocalblurError: if an input is missing or a folder without pictures, two pictures would get the same name, an
            output would replace an input, or (without `overwrite`) any existing file.
    """
    for folder, option in ((output, "--output"), (gates, "--gate-output")):
        if folder is not None:
            refuse_file_as_folder(folder, option)
    jobs = [_job(source, output, gates, compare) for source in _sources(inputs)]
    written = Counter(path for job in jobs for path in job.outputs)
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        for path in job.outputs:
            if written[path] > 1:
                clash = ", ".join(str(other.source) for other in jobs if path in other.outputs)
                raise LocalblurError(
                    f"{clash} would all be written to {path}; rename them or use one --output for each"
                )
            if path.resolve() in sources:
                raise LocalblurError(f"{path} is an input and would be overwritten; choose another --output")
            refuse_existing(path, overwrite)
    return jobs


def unmet_wishes(jobs: Sequence[Job], *, gates: bool, compare: bool) -> list[str]:
    """At most one line: gates and comparisons are pictures, and videos get none."""
    wishes = [name for name, wished in (("--gate-output", gates), ("--compare", compare)) if wished]
    videos = [job.source.name for job in jobs if job.video]
    if not wishes or not videos:
        return []
    listed = ", ".join(videos[:_LISTED]) + (f" and {len(videos) - _LISTED} more" if len(videos) > _LISTED else "")
    return [f"{' and '.join(wishes)} {'is' if len(wishes) == 1 else 'are'} for pictures: none is written for {listed}"]


def refuse_file_as_folder(folder: Path, option: str = "--output") -> None:
    """Refuse an output folder that is a file, or lies inside one."""
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise LocalblurError(f"cannot write into {folder}: {path} is a file; choose another {option}")
            return


def listed_paths(lines: Iterable[str]) -> Iterator[Path]:
    """Paths from a list, one a line; empty lines, and the mark that some editors begin a text with, are skipped."""
    names = (line.strip().removeprefix("\ufeff") for line in lines)
    return (Path(name) for name in names if name)


def unusable(path: Path) -> str | None:
    """Why a path cannot be an input; None if it can."""
    if path.is_dir():
        found = any(_is_input(file) for file in path.iterdir())
        return None if found else f"no pictures in {path}; looked for {_known()}"
    if not path.exists():
        return f"no such picture or folder: {path}"
    return None if path.suffix.lower() in _INPUT_SUFFIXES else _not_a_picture(path)


def _job(source: Path, output: Path, gates: Path | None, compare: bool) -> Job:
    video = source.suffix.lower() in VIDEO_SUFFIXES
    return Job(
        source=source,
        # whatever it was, a restored video is an MP4
        target=output / (f"{source.stem}.mp4" if video else source.name),
        gate=None if gates is None or video else gates / f"{source.stem}.png",
        compare=output / f"{source.stem}_compare.png" if compare and not video else None,
    )


def _sources(inputs: Sequence[Path]) -> Iterable[Path]:
    """Every file once, in the order given; a folder's by name."""
    found: dict[Path, Path] = {}
    for path in inputs:
        why = unusable(path)
        if why is not None:
            raise LocalblurError(why)
        for file in sorted(file for file in path.iterdir() if _is_input(file)) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return found.values()


def _is_input(path: Path) -> bool:
    known = path.suffix.lower() in _INPUT_SUFFIXES
    return known and path.is_file() and not path.name.startswith(".")


def _known() -> str:
    return ", ".join(sorted(_INPUT_SUFFIXES))


def _not_a_picture(path: Path) -> str:
    if path.suffix.lower() in _CAMERA_SUFFIXES:
        return f"{path}: {path.suffix} is not read; save it as PNG, TIFF or JPEG first"
    return f"{path} is not a picture; use one of {_known()}"
