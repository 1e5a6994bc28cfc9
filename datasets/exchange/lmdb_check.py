"""Whether an LMDB can be read at all, tried where it does no harm.

LMDB maps its file into memory and trusts it. A truncated or damaged file does not raise an error, it ends the process
(SIGBUS). So before the values of an LMDB are used they are looked up once in a process of their own:
`python -m localblur.datasets.exchange.lmdb_check NAME.lmdb`.
"""

import re
import subprocess
import sys
from pathlib import Path

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.picture_source import import_lmdb, open_lmdb

META_INFO = "meta_info.txt"
START_S, KEY_S = 60.0, 0.1
"""How long the process may take: to start, and for each key (a slow disk)."""
EXIT_REFUSED = 3


def listed_keys(folder: Path) -> list[str]:
    """The keys that `meta_info.txt` of an LMDB lists, one `KEY.png (H,W,C) LEVEL` a line.

    Raises:
        LocalblurError: if it cannot be read.
    """
    info = folder / META_INFO
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read {info}, the list of keys: {error}") from error
    names = [re.sub(r" \([^()]*\) \d+ *$", "", line) for line in lines if line.strip()]
    return [name.rsplit(".", 1)[0] for name in names]


def check_lmdb(folder: Path) -> list[str]:
    """Look up every listed key of an LMDB and return the keys.

    Raises:
        LocalblurError: if its list cannot be read, it is no LMDB, or reading it would end the process.
    """
    import_lmdb()
    keys = listed_keys(folder)
    command = [sys.executable, "-m", "localblur.datasets.exchange.lmdb_check", str(folder.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S + KEY_S * len(keys), check=False)
    except subprocess.TimeoutExpired as error:
        raise LocalblurError(f"{folder} is damaged or on a disk that hangs; copy or make it again") from error
    if done.returncode == EXIT_REFUSED:
        raise LocalblurError(" ".join(done.stderr.split()))
    if done.returncode != 0:
        raise LocalblurError(
            f"{folder} is truncated or damaged: reading it ends a process with exit code {done.returncode}; copy or"
            " make it again"
        )
    return keys


def touch_all(folder: Path) -> None:
    """Look up every listed key and touch both ends of its value; may end the process."""
    with open_lmdb(folder) as store, store.begin(buffers=True) as transaction:
        for key in listed_keys(folder):
            value = transaction.get(key.encode()) if key else None
            if value:
                bytes(value[:1]), bytes(value[-1:])


def main() -> int:
    """What the process of its own does; its exit code."""
    try:
        touch_all(Path(sys.argv[1]))
    except LocalblurError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REFUSED
    except import_lmdb().Error as error:
        sys.stderr.write(f"cannot read {sys.argv[1]}: {error}; copy or make it again\n")
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
