"""Writing LMDBs as BasicSR and NAFNet read them: PNGs as values, `meta_info.txt` with a line per key."""

from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import write_text
from localblur.datasets.exchange.picture_source import import_lmdb

GROWTH = 1 << 30
"""An LMDB may grow to the size of its map, and the map by as much when it is full. On disk it is as large as what it
holds."""


class LmdbSet:
    """The LMDBs of one export below `folder`, opened when first used; a context manager.

    An LMDB that is there is replaced. `meta_info.txt` is written at a good end: without it readers refuse the LMDB.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Any] = {}
        self._lines: dict[str, dict[str, str]] = {}

    def __enter__(self) -> "LmdbSet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in self._open.values():
            store.sync(True)
            store.close()
        if kind is None:
            for name, lines in self._lines.items():
                write_text(self.folder / name / "meta_info.txt", "\n".join(lines[key] for key in sorted(lines)) + "\n")

    def put(self, place: str, png: bytes, shape: tuple[int, ...]) -> None:
        """Store a PNG of a picture of `shape` (H, W, C) at `place`, `.../NAME.lmdb/KEY`.

        Raises:
            LocalblurError: if `lmdb` is not installed, or the LMDB cannot be written.
        """
        path = PurePosixPath(place)
        name = next(parent for parent in path.parents if parent.suffix == ".lmdb").as_posix()
        key = path.relative_to(name).as_posix()
        self._put(name, key.encode(), png)
        self._lines[name][key] = f"{key}.png ({','.join(str(size) for size in shape)}) 1"

    def _put(self, name: str, key: bytes, value: bytes) -> None:
        lmdb = import_lmdb()
        try:
            store = self._open[name] if name in self._open else self._begin(name)
            while True:
                try:
                    with store.begin(write=True) as transaction:
                        transaction.put(key, value)
                    return
                except lmdb.MapFullError:
                    store.set_mapsize(store.info()["map_size"] + GROWTH + len(value))
        except lmdb.BadValsizeError as error:
            raise LocalblurError(f"the key {key.decode()!r} is longer than LMDB takes; use shorter names") from error
        except lmdb.Error as error:
            raise LocalblurError(f"cannot write {self.folder / name}: {error}") from error

    def _begin(self, name: str) -> Any:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("meta_info.txt", "data.mdb", "lock.mdb"):
            (folder / file).unlink(missing_ok=True)
        store = import_lmdb().open(str(folder), map_size=GROWTH, sync=False, writemap=False)
        self._open[name], self._lines[name] = store, {}
        return store
