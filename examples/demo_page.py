"""The demo's page: one static HTML file with pictures of every stage."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo_pictures import (
    alignment_strip,
    capture_strip,
    deblur_strip,
    loss_curve,
    mask_strip,
    synthetic_sheet,
)

from localblur.training.evaluation.report import remarks, table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.6rem; border-top: 1px solid #ccc; padding-top: 1rem; }
img { max-width: 100%; display: block; margin: .6rem 0; } figcaption { color: #555; font-size: .92rem; }
figure { margin: 1rem 0; } table { border-collapse: collapse; } td, th { padding: .25rem .8rem; text-align: right; }
th { border-bottom: 1px solid #999; } td:first-child, th:first-child { text-align: left; }
pre { background: #f4f4f4; padding: .7rem; white-space: pre-wrap; font-size: .82rem; }
pre.table { white-space: pre; overflow-x: auto; } .note { color: #555; }
"""


def write_page(folder: Path, run: Callable[..., None]) -> Path:
    """Make the pictures of every stage and `folder/index.html`; `run` runs the `deblur` command for the last stage."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    facts = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    rig, synthetic, recording = folder / "rig.h5", folder / "synthetic.h5", folder / "recording"
    sections = [
        section(
            "1. Capture",
            "Two emulated Basler cameras look at the simulated scene through one beam splitter. Camera B exposes long"
            " behind an ND filter, camera S short in the middle of the same interval. Shown as captured: Bayer mosaics"
            " in linear light (brightened for the screen), each with its own lens, colours and noise.",
            commands(facts, "capture"),
            *(figure(path, caption) for path, caption in capture_strip(recording, pictures)),
        ),
        section(
            "2. Alignment",
            "The blurred picture is warped once onto the grid of the sharp one and its colours are matched. Left: the"
            " absolute difference of the two captures; right: after alignment, both amplified by the same factor. What"
            " remains bright is what moved.",
            commands(facts, "align"),
            *(figure(path, caption) for path, caption in alignment_strip(recording, rig, pictures)),
            link("alignment/index.html", "The alignment report: every pair with its measures and verdict", folder),
        ),
        section(
            "3. Blur masks",
            "What the generator marks as blurred (outlined in red) on the blurred picture, and beside it what the"
            " simulator knows to have moved (green).",
            "",
            *(figure(path, caption) for path, caption in mask_strip(recording, rig, pictures)),
        ),
        section(
            "4. Synthetic pairs",
            "Frames of generated high-frame-rate video averaged in linear light: blurred, sharp, mask.",
            commands(facts, "synthesize"),
            *(figure(path, caption) for path, caption in synthetic_sheet(synthetic, pictures)),
        ),
        section(
            "5. Training",
            "The network that comes with the package, trained on with the pairs above, so that it knows this rig.",
            commands(facts, "train"),
            *(figure(path, caption) for path, caption in loss_curve(folder / "run", pictures)),
        ),
        section(
            "6. Result on scenes never seen",
            "Other objects, other backgrounds, other textures than in training; the same rig. “Weighted” numbers count"
            " only pixels inside the blur mask. “run/last” is the network after the training above, “model-in-the-box”"
            " before it. The strips are from the three test scenes with the largest"
            " blurred area; the evaluation report shows the best, the median and the worst pair.",
            commands(facts, "evaluate"),
            results(folder),
            *(figure(path, caption) for path, caption in deblur_strip(folder, rig, pictures, run)),
            link("scores/index.html", "The evaluation report: best, median and worst pairs", folder),
        ),
    ]
    page = folder / "index.html"
    page.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>localblur: the demo</title>"
        f"<style>{STYLE}</style><h1>From two cameras to a deblurred picture</h1>"
        f"<p class='note'>Everything on this page was made by one run of the demo in {facts['seconds']:.0f} s.</p>"
        + "".join(sections)
        + "</html>\n",
        encoding="utf-8",
    )
    return page


def section(title: str, text: str, *parts: str) -> str:
    """One stage of the chain."""
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{''.join(parts)}"


def figure(picture: Path, caption: str) -> str:
    """A picture with its caption; the path is relative to the page."""
    source, told = f"{picture.parent.name}/{picture.name}", html.escape(caption, quote=True)
    return f"<figure><img src='{source}' alt='{told}'><figcaption>{told}</figcaption></figure>"


def link(target: str, text: str, folder: Path) -> str:
    """A link, if its target was made."""
    return f"<p><a href='{target}'>{html.escape(text)}</a></p>" if (folder / target).exists() else ""


def commands(facts: dict[str, Any], stage: str) -> str:
    """The commands of a stage and the time they took; repeated ones are shown once."""
    rows = [row for row in facts["commands"] if row["stage"] == stage]
    total = sum(row["seconds"] for row in rows)
    shown = [row["command"] for row in rows]
    shown = [text if len(text) < 400 else f"{text[:240]} … {text[-120:]}" for text in shown]
    kept = shown if len(shown) <= 4 else [*shown[:3], f"… {len(shown) - 4} more scenes …", shown[-1]]
    return f"<pre>{html.escape(chr(10).join(kept))}\n({total:.0f} s)</pre>"


def results(folder: Path) -> str:
    """The table of mean scores and what must be known to read it."""
    summary = json.loads((folder / "scores" / "summary.json").read_text(encoding="utf-8"))
    told = html.escape(". ".join(remarks(summary)))
    return f"<pre class='table'>{html.escape(table(summary))}</pre><p class='note'>{told}</p>"
