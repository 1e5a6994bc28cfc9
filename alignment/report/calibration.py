"""What a report says about the rig calibration of an input: geometry, residuals, colours, chromatic shift."""

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.alignment.judging.quality import MEASURES
from localblur.alignment.registration.displacement import PolynomialField
from localblur.alignment.report.drawings import draw_field, draw_surface
from localblur.alignment.report.pictures import data_uri
from localblur.alignment.report.values import measure_text, number_text, ramp_legend

_RESIDUALS = ("residual_p50_px", "residual_p95_px", "usable_tiles", "static_psnr_db")


def calibration_section(name: str, content: Mapping[str, Any]) -> str:
    """The calibration of one input, as it was stored under /calibration/<input>.

    Contents may be missing: an input without static pairs has no calibration, older files say less.
    """
    label = html.escape(name)
    if not content.get("static_pairs"):
        return (
            f"<h3>{label}</h3><p>No static pairs: every pair was registered on its own, geometry and colour, which is"
            f" less reliable than a rig calibration.</p><p>{_rendering(content)}</p>{_blacks(content)}"
        )
    return (
        f'<h3>{label}</h3>{_residuals(content)}<div class="drawings">{_geometry(content)}{_vignetting(content)}</div>'
        f'<div class="columns">{_color(content)}{_chromatic(content)}</div><p>{_rendering(content)}</p>'
        f"{_blacks(content)}"
    )


def calibration_line(name: str, content: Mapping[str, Any]) -> str:
    """The calibration of one input in a line, with a link to the rest."""
    label, pairs = html.escape(name), len(content.get("static_pairs", ()))
    if not pairs:
        return (
            f'<p class="calibration"><a href="#rig">{label}</a>: no static pairs, every pair registered on its own</p>'
        )
    left = [
        found["residual_p95_px"] for found in content.get("residuals", ()) if found.get("residual_p95_px") is not None
    ]
    told = f", which it aligns to within {max(left):.3f} px (95 % of the tiles of the worst)" if left else ""
    return f'<p class="calibration"><a href="#rig">{label}</a>: calibrated by {pairs} static pairs{told}</p>'


def _residuals(content: Mapping[str, Any]) -> str:
    labels, spread = content["static_pairs"], content.get("spread_px", [])
    residuals = content.get("residuals") or [{}] * len(labels)
    head = "".join(f'<th scope="col">{html.escape(MEASURES[name].title)}</th>' for name in _RESIDUALS)
    rows = []
    for label, distance, left in zip(labels, spread, residuals, strict=True):
        values = {name: left[name] if left.get(name) is not None else math.nan for name in _RESIDUALS}
        cells = "".join(f"<td>{measure_text(name, float(value))}</td>" for name, value in values.items())
        rows.append(f'<tr><th scope="row">{html.escape(label)}</th><td>{float(distance):.3f} px</td>{cells}</tr>')
    return (
        '<table class="plain numbers"><caption>Static pairs, and what the calibration leaves of them</caption>'
        "<thead><tr>"
        '<th scope="col">static pair</th><th scope="col">its field from the common one</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _geometry(content: Mapping[str, Any]) -> str:
    if "field" not in content or "field_size" not in content:
        return ""
    width, height = (int(side) for side in content["field_size"])
    field = PolynomialField(np.asarray(content["field"], np.float64), width, height)
    drawn = draw_field(field)
    scale = ramp_legend("lengths", "0", f"{drawn.scale_px:g} px")
    told = f"degree {field.degree}, mean {drawn.mean_px:.2f} px, largest {drawn.largest_px:.2f} px"
    return _figure(drawn.svg, f"The rig's displacement field, from the sharp picture to the blurred one: {told}", scale)


def _vignetting(content: Mapping[str, Any]) -> str:
    if "vignetting" not in content or "field_size" not in content:
        return ""
    width, height = (int(side) for side in content["field_size"])
    drawn, low, high = draw_surface(np.asarray(content["vignetting"], np.float64), width, height)
    caption = (
        f"Vignetting, camera S over camera B, 1 in the middle (from {content.get('vignetting_from', 'static pairs')})"
    )
    return _figure(drawn, html.escape(caption), ramp_legend("lengths", f"{low:.3f}", f"{high:.3f}"))


def _color(content: Mapping[str, Any]) -> str:
    if "color_matrix" not in content:
        return ""
    rows = zip(("red", "green", "blue"), np.asarray(content["color_matrix"]), strict=True)
    offset = np.asarray(content.get("color_offset", np.zeros(3)))
    body = "".join(_color_row(name, row, float(start)) for (name, row), start in zip(rows, offset, strict=True))
    left = ""
    if content.get("color_residual") is not None:
        left = (
            f"<p>It leaves a robust standard deviation of {number_text(float(content['color_residual']))}, relative to"
            " the square root of the light.</p>"
        )
    return (
        '<div><table class="plain numbers"><caption>Colours: sharp from blurred, linear light</caption><thead><tr>'
        '<th scope="col">sharp</th><th scope="col">red</th><th scope="col">green</th><th scope="col">blue</th>'
        f'<th scope="col">offset</th></tr></thead><tbody>{body}</tbody></table>{left}</div>'
    )


def _color_row(name: str, row: npt.NDArray[np.float64], start: float) -> str:
    cells = "".join(f"<td>{value:.3f}</td>" for value in row)
    return f'<tr><th scope="row">{name}</th>{cells}<td>{round(start, 4) + 0.0:+.4f}</td></tr>'


def _chromatic(content: Mapping[str, Any]) -> str:
    found = content.get("chromatic")
    if not found:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{channel}</th><td>{float(found[f"{channel}_largest_px"]):.3f}</td>'
        f"<td>{float(found.get(f'{channel}_uncertainty_px', float('nan'))):.3f}</td></tr>"
        for channel in ("red", "blue")
        if f"{channel}_largest_px" in found
    )
    return (
        '<div><table class="plain numbers"><caption>Lateral chromatic shift of the cameras, against green</caption>'
        "<thead>"
        '<tr><th scope="col">channel</th><th scope="col">in the worst corner, px</th><th scope="col">uncertainty, px'
        f"</th></tr></thead><tbody>{rows}</tbody></table><p>From {int(found.get('tiles', 0))} tiles of the static"
        " pairs.</p></div>"
    )


def _rendering(content: Mapping[str, Any]) -> str:
    rendering = content.get("rendering", {})
    method = str(rendering.get("method", "none"))
    text = "Colours of the output: " + ("as captured" if method == "none" else f"rendered to sRGB by {method}")
    if "gains" in rendering and method != "none":
        text += f", white balance {', '.join(f'{gain:.3f}' for gain in np.asarray(rendering['gains']))}"
    if rendering.get("delta_e2000") is not None:
        text += f", mean CIEDE2000 of the chart after rendering {number_text(float(rendering['delta_e2000']))}"
    return html.escape(text) + "."


def _blacks(content: Mapping[str, Any]) -> str:
    parts = []
    for role in ("blurred", "sharp"):
        black = content.get(f"black_{role}")
        if black:
            told = ", ".join(
                f"{html.escape(str(key).replace('_', ' '))} {number_text(_plain(black[key]))}" for key in black
            )
            parts.append(f"<li>{role} camera: {told}</li>")
    return f"<p>Dark frames:</p><ul>{''.join(parts)}</ul>" if parts else ""


def _plain(value: object) -> object:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _figure(drawing: str, caption: str, scale: str) -> str:
    source = data_uri(drawing.encode(), ".svg")
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}{scale}</figcaption></figure>'
