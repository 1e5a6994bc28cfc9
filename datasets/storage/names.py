"""Names of scenes and pairs made from the names of files."""

import unicodedata

from localblur.datasets.storage.schema import NAME_BYTES

PAIRS_SUFFIXES = {".h5", ".hdf5"}


def storable_name(text: str, suffix: str = "") -> str:
    """`text` as a name that a pairs file and every file system take: odd characters become "_", long names are cut.

    `suffix` is appended and always kept whole.

    Example:
        >>> storable_name("night/clip: 7")
        'night_clip_ 7'
    """
    kept = "".join("_" if c in '/\\:*?"<>|' or unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    shortened = kept.strip(" .").encode()[: NAME_BYTES - len(suffix.encode())].decode(errors="ignore").strip(" .")
    return (shortened or "unnamed") + suffix
