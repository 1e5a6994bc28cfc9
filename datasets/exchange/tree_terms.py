"""The terms of pictures in a tree that this package wrote: a layout's own are those of the published data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json
from localblur.datasets.store import StoreHeader

EXPORTED, SYNTHESISED = "export.json", "synthesis.json"
NOT_STATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Where pictures come from, on what terms, and what to cite; None where nothing is known."""

    source: str | None = None
    licence: str = NOT_STATED
    citation: str | None = None


def terms_to_plain(header: StoreHeader) -> dict[str, Any]:
    """What an export keeps of a pairs file's terms, plain JSON values."""
    return {"source": header.source, "licence": header.licence, "citation": header.settings.get("citation")}


def terms_of_tree(root: Path) -> Terms | None:
    """The terms that a tree of this package has; None for trees of others, which have those of their layout."""
    for marker in (EXPORTED, SYNTHESISED):
        try:
            content = read_json(root / marker) if (root / marker).is_file() else None
        except LocalblurError:
            continue  # damaged, or somebody else's
        if isinstance(content, dict) and {"settings", "run"} & set(content):
            told = content.get("terms")
            known = told if isinstance(told, dict) else {}
            source, licence, citation = (
                value if isinstance(value := known.get(key), str) and value else None
                for key in ("source", "licence", "citation")
            )
            return Terms(source=source, licence=licence or NOT_STATED, citation=citation)
    return None
