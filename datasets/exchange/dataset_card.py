"""The card of an exported data set: README.md for people (and the Hugging Face Hub), croissant.json for machines."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from localblur.common.files import write_json, write_text
from localblur.datasets.exchange.exporters import FORMATS
from localblur.datasets.store import SPLITS, PairsFile, StoreHeader

CROISSANT = "croissant.json"
SIZE_CLASSES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LICENCES: Mapping[str, str] = {"cc by 4.0": "cc-by-4.0", "cc0": "cc0-1.0", "cc by-nc 4.0": "cc-by-nc-4.0"}
"""Names of the Hub for terms in words; everything else is `other` with the words beside it."""
CROISSANT_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

Lines = Sequence[tuple[str, dict[str, Any]]]


def write_card(folder: Path, pairs: PairsFile, kind: str, lines: Lines) -> None:
    """Write README.md, and croissant.json where the export has `metadata.jsonl`.

    Args:
        folder: of the export, complete but for its card.
        pairs: where it comes from.
        kind: the format.
        lines: (split, metadata) of every exported pair, see `export_run.metadata_line`.
    """
    write_text(folder / "README.md", card_text(folder.resolve().name, pairs, kind, lines))
    if kind == "imagefolder":
        write_json(folder / CROISSANT, croissant(folder, pairs, lines))


def card_text(name: str, pairs: PairsFile, kind: str, lines: Lines) -> str:
    """README.md: the Hub's header, counts, blurred area, terms, citation, and how it was made."""
    header = pairs.header
    citation = citation_of(header)
    parts = [
        f"---\n{yaml.safe_dump(_hub_header(name, header.licence, len(lines)), sort_keys=False)}---",
        f"# {name}",
        f"{len(lines)} pairs of blurred and sharp pictures for local motion deblurring: {FORMATS[kind].title}.",
        "## Content",
        "\n".join(_count_table(lines)),
        "Masks mark the extent of the blur: 128 and above is blurred."
        + (" Here they hold 0 and 255 only." if FORMATS[kind].binary_masks else ""),
        "## Terms",
        f"Licence: {header.licence}",
        f"Source: {header.source or 'not stated'}",
        *([f"Please cite: {citation}"] if citation else []),
        "## How it was made",
        f"Made {pairs.created} by {header.creator}, exported by localblur. Settings:",
        f"```yaml\n{yaml.safe_dump(header.settings, sort_keys=False, allow_unicode=True)}```",
    ]
    return "\n\n".join(parts) + "\n"


def citation_of(header: StoreHeader) -> str:
    """Whom to cite, as the settings of an import say it, or those of all files that were merged; "" if nobody said."""
    merged = header.settings.get("merged")
    origins = [origin for origin in merged if isinstance(origin, dict)] if isinstance(merged, list) else []
    settings = [header.settings, *(origin.get("settings") for origin in origins)]
    said = [content.get("citation") for content in settings if isinstance(content, dict)]
    return "; ".join(dict.fromkeys(str(citation) for citation in said if citation))


def croissant(folder: Path, pairs: PairsFile, lines: Lines) -> dict[str, Any]:
    """Croissant 1.0 metadata (MLCommons) of an `imagefolder` export."""
    splits = [split for split in SPLITS if any(own == split for own, _ in lines)]
    citation = citation_of(pairs.header)
    return {
        "@context": CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name) or "pairs",
        "description": "Pairs of blurred and sharp pictures for local motion deblurring.",
        "license": pairs.header.licence,
        "datePublished": pairs.created[:10],
        "version": "1.0.0",
        "url": ".",
        **({"citeAs": citation} if citation else {}),
        "distribution": [_file_object(folder, split) for split in splits] + [_file_set(split) for split in splits],
        "recordSet": [_record_set(split) for split in splits],
    }


def _file_object(folder: Path, split: str) -> dict[str, Any]:
    content = (folder / split / "metadata.jsonl").read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": f"{split}-metadata",
        "name": f"{split}-metadata",
        "contentUrl": f"{split}/metadata.jsonl",
        "encodingFormat": "application/jsonlines",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _file_set(split: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}-pictures",
        "name": f"{split}-pictures",
        "encodingFormat": "image/png",
        "includes": f"{split}/**/*.png",
    }


def _record_set(split: str) -> dict[str, Any]:
    types = {
        "scene": "sc:Text",
        "name": "sc:Text",
        "blurred_file_name": "sc:Text",
        "sharp_file_name": "sc:Text",
        "blurred_share": "sc:Float",
        "verdict": "sc:Text",
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{split}/{name}",
            "name": name,
            "dataType": kind,
            "source": {"fileObject": {"@id": f"{split}-metadata"}, "extract": {"column": name}},
        }
        for name, kind in types.items()
    ]
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}


def _hub_header(name: str, licence: str, count: int) -> dict[str, Any]:
    known = LICENCES.get(licence.lower())
    terms = {"license": known} if known else {"license": "other", "license_name": licence}
    size = next((text for limit, text in SIZE_CLASSES if count < limit), "n>1M")
    return {
        "pretty_name": name,
        **terms,
        "task_categories": ["image-to-image"],
        "tags": ["deblurring", "local motion blur"],
        "size_categories": [size],
    }


def _count_table(lines: Lines) -> list[str]:
    table = ["| split | scenes | pairs | with mask | blurred area, median (5 % to 95 %) |", "|---|---|---|---|---|"]
    for split in SPLITS:
        own = [line for found, line in lines if found == split]
        if own:
            shares = [100 * line["blurred_share"] for line in own if line["blurred_share"] is not None]
            low, middle, high = np.percentile(shares, (5, 50, 95)) if shares else (0, 0, 0)
            area = f"{middle:.2f} % ({low:.2f} to {high:.2f} %)" if shares else "-"
            scenes = len({line["scene"] for line in own})
            table.append(f"| {split} | {scenes} | {len(own)} | {len(shares)} | {area} |")
    return table
