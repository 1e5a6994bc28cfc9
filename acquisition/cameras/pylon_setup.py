"""Setting a Basler camera up: automatics off, Bayer first, area, exposure, gain, black level; and reading it back."""

import logging
from typing import Any

from localblur.acquisition.cameras import pylon_features as names
from localblur.acquisition.cameras.camera import CameraRecord, CameraSettings, LinkSettings, Role
from localblur.acquisition.cameras.pylon_nodes import Changes, Nodes, writable

logger = logging.getLogger(__name__)

CHANGED = "localblur.changed"
"""Key in a camera record's `features`: what was found switched on and is now off, with its former value."""

EXPOSURE_TOLERANCE = 0.01


def set_up_image(nodes: Nodes, settings: CameraSettings, changes: Changes) -> None:
    """Bring everything that makes the picture to `settings`, and everything automatic to rest.

    Raises:
        CameraError: `refused`, naming the setting, the value and what the camera offers.
    """
    for name, value in names.AUTOMATIC_OFF:
        nodes.change(name, value, changes)
    _neutral_white_balance(nodes, changes)
    if settings.mirrored or nodes.has("ReverseX"):
        nodes.set("ReverseX", settings.mirrored)  # before the pixel format: it may turn the Bayer pattern round
    pixel_format = _choose_pixel_format(nodes, settings.bit_depth)
    _set_area(nodes, settings.width, settings.height)
    nodes.set_quantity(
        names.EXPOSURE,
        settings.exposure_ms,
        what="exposure",
        unit="ms",
        per_unit=1000.0,
        tolerance=EXPOSURE_TOLERANCE * settings.exposure_ms * 1000,
    )
    _set_gain(nodes, settings.gain_db)
    _set_black_level(nodes, settings.black_level, pixel_format)


def set_link(nodes: Nodes, stream: Nodes, link: LinkSettings) -> None:
    """Limit the camera's use of its cable; a setting of another kind of cable is warned of and left alone.

    Args:
        nodes, stream: settings of the camera and of its stream grabber.
    """
    if link.packet_bytes is not None:
        stream.change(names.AUTO_PACKET_SIZE, False)
        _set_stepped(nodes, names.PACKET_SIZE, link.packet_bytes)
    if link.packet_delay_ticks is not None:
        _set_stepped(nodes, names.PACKET_DELAY, link.packet_delay_ticks)
    if link.limit_mb_s is not None:
        nodes.change(f"{names.LINK_LIMIT}Mode", "On")
        _set_stepped(nodes, names.LINK_LIMIT, int(link.limit_mb_s * 1_000_000))


def read_back(nodes: Nodes, role: Role, model: str, serial: str, changes: Changes) -> CameraRecord:
    """What the camera says its settings now are.

    `features` holds every setting by its own name, and `TriggerDelay` in microseconds under that name in all families.
    """
    pixel_format = str(nodes.value("PixelFormat"))
    depth = _bit_depth(pixel_format)
    black, unit = _black_level(nodes, pixel_format)
    features = nodes.texts()
    features[CHANGED] = changes.text()
    delay = nodes.value(*names.TRIGGER_DELAY)
    if delay is not None:
        features[names.TRIGGER_DELAY[0]] = str(delay)
    return CameraRecord(
        role=role,
        model=model,
        serial=serial,
        pixel_format=pixel_format,
        bit_depth=depth,
        bayer=names.BAYER_PATTERNS[pixel_format[5:7]] if pixel_format.startswith("Bayer") else None,
        width=nodes.value("Width"),
        height=nodes.value("Height"),
        black_level=float(black.Value) * unit if black is not None else 0.0,
        white_level=float(2**depth - 1),
        exposure_ms=float(nodes.value(*names.EFFECTIVE_EXPOSURE)) / 1000,
        features=features,
    )


def _neutral_white_balance(nodes: Nodes, changes: Changes) -> None:
    for channel in nodes.offers("BalanceRatioSelector"):
        nodes.change("BalanceRatioSelector", channel)
        seen = Changes()
        for name in names.WHITE_BALANCE:
            nodes.change(name, 1.0, seen)
        for name, (before, after) in seen.found.items():
            changes.note(f"{name}[{channel}]", before, after)


def _choose_pixel_format(nodes: Nodes, bit_depth: int) -> str:
    offered = nodes.offers("PixelFormat")
    for wanted in names.PIXEL_FORMATS[bit_depth] + names.PIXEL_FORMATS[8]:
        if wanted in offered:
            if _bit_depth(wanted) != bit_depth:
                logger.warning("%s has no %d-bit Bayer format; using %s", nodes.owner, bit_depth, wanted)
            nodes.set("PixelFormat", wanted)
            return wanted
    raise nodes.error("refused", f"has no Bayer or RGB pixel format, only {', '.join(offered)}; use a colour camera")


def _set_area(nodes: Nodes, width: int | None, height: int | None) -> None:
    for size_name, offset_name, size in (("Width", "OffsetX", width), ("Height", "OffsetY", height)):
        nodes.change(offset_name, 0)
        node = nodes.find(size_name)
        nodes.set(size_name, node.Max if size is None else size)
        offset = nodes.find(offset_name)
        if offset is not None and writable(offset):
            step = 2 * max(1, offset.Inc)  # even, so that the Bayer pattern stays what it is
            offset.Value = offset.Max // 2 // step * step


def _set_gain(nodes: Nodes, gain_db: float) -> None:
    raw = nodes.find(*names.RAW_GAIN)
    if nodes.has(*names.GAIN):
        nodes.set_quantity(names.GAIN, gain_db, what="gain", unit="dB", per_unit=1.0, tolerance=0.1)
    elif gain_db != 0:
        nodes.refuse(f"has no gain in dB to set, so {gain_db} dB cannot be asked for; leave the gain at 0")
    elif raw is not None:
        raw.Value = raw.Min


def _black_level(nodes: Nodes, pixel_format: str) -> tuple[Any, float]:
    """The setting for the black level, None without one, and how many DN its unit is."""
    node = nodes.find(*names.BLACK_LEVEL)
    if node is not None:
        return node, 1.0
    return nodes.find(*names.RAW_BLACK_LEVEL), 1.0 if _bit_depth(pixel_format) == 12 else 1 / 16


def _set_black_level(nodes: Nodes, black_level: float | None, pixel_format: str) -> None:
    node, unit = _black_level(nodes, pixel_format)
    if node is not None:
        wanted = (2 ** _bit_depth(pixel_format) / 64 if black_level is None else black_level) / unit
        limited = min(max(wanted, node.Min), node.Max)
        node.Value = int(limited) if isinstance(node.Min, int) else limited


def _set_stepped(nodes: Nodes, name: str, wanted: int) -> None:
    """Set an integer to the largest step at or below `wanted`."""
    node = nodes.find(name)
    if node is None:
        logger.warning("%s has no setting %s; %d is not set", nodes.owner, name, wanted)
        return
    if not node.Min <= wanted <= node.Max:
        nodes.refuse(f"{name} {wanted} is outside its range of {node.Min} to {node.Max}")
    step = max(1, node.Inc)
    nodes.set(name, node.Min + (wanted - node.Min) // step * step)


def _bit_depth(pixel_format: str) -> int:
    return 12 if "12" in pixel_format else 8
