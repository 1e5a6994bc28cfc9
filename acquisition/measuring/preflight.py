"""Before the first pair: two cameras that do not fit each other, a shutter that rolls, a picture that is mirrored."""

from collections.abc import Iterator, Mapping

import numpy as np

from localblur.acquisition.measuring.pair_match import overall_match, overview
from localblur.acquisition.measuring.raw_pictures import RawFrame
from localblur.datasets.images import FloatArray
from localblur.datasets.recording import ROLES, CameraRecord, Role

SHUTTER_FEATURES = ("SensorShutterMode", "ShutterMode")
"""ace 2, dart, pulse and boost; ace and Camera Link. https://docs.baslerweb.com/sensor-shutter-mode"""
ROLLING_MODELS = ("acA1280-60", "acA1920-25", "acA2500-14", "acA3800-14", "acA4600", "daA2500-14", "daA3840-30")
"""Basler models without any global shutter, as its manuals list them; not all of them have a feature that says so."""
ROLLING_SHUTTERS = {
    "Rolling": "rows are exposed one after the other, so moving objects are sheared",
    "GlobalReset": "rows end their exposure one after the other, so blur grows from top to bottom",
}
"""How a shutter mode's name begins, and what is wrong with it here."""

FRAME_RATE_ENABLED = "AcquisitionFrameRateEnable"
FRAME_RATES = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")

UNEQUAL_FEATURES: dict[str, tuple[tuple[str, ...], float, str]] = {
    "sensor widths": (("SensorWidth", "WidthMax"), 0, "use two cameras of one model"),
    "sensor heights": (("SensorHeight", "HeightMax"), 0, "use two cameras of one model"),
    "gains": (("Gain", "GainAbs", "GainRaw"), 0.05, "set both to the same; bring levels together with the ND filter"),
    "horizontal binnings": (("BinningHorizontal",), 0, "switch binning off in both"),
    "vertical binnings": (("BinningVertical",), 0, "switch binning off in both"),
    "gammas": (("Gamma",), 0.001, "set both to 1"),
}
"""Settings that must be alike: their names in order of preference, by how much they may differ, and what to do."""

_FLIPS: dict[str, tuple[int, ...]] = {
    "none": (),
    "left-right": (1,),
    "up-down": (0,),
    "half turn": (0, 1),
}
_LEAST_MATCH, _CLEARLY_BETTER = 0.5, 0.2


def camera_warnings(cameras: Mapping[Role, CameraRecord]) -> list[str]:
    """What about the two cameras' settings speaks against recording, one line each; empty if nothing does."""
    warnings = [line for role in ROLES for line in _single_warnings(cameras[role])]
    return warnings + list(_unequal_warnings(cameras["B"], cameras["S"]))


def mirror_warning(
    blurred: RawFrame, sharp: RawFrame, cameras: Mapping[Role, CameraRecord], mirrored: Role | None
) -> str | None:
    """Whether one camera sees the scene flipped, judged by a pair in which nothing moves.

    Args:
        blurred, sharp: the raw frames as delivered.
        cameras: their records.
        mirrored: the camera that flips its picture left to right already, by `--mirror`.

    Returns:
        One line that says what to do; None if no flip fits clearly better than none, as with a scene that is
        symmetric or without structure.
    """
    one, other = overview(blurred, cameras["B"]), overview(sharp, cameras["S"])
    matches = {name: overall_match(_flipped(one, axes), other)[0] for name, axes in _FLIPS.items()}
    best = max(matches, key=lambda name: matches[name])
    if matches[best] < _LEAST_MATCH or matches[best] < matches["none"] + _CLEARLY_BETTER:
        return None
    rivals = [match for name, match in matches.items() if name != best]
    if matches[best] < max(rivals) + _CLEARLY_BETTER / 2:
        return None
    seen = f"correlation {matches[best]:.2f} instead of {matches['none']:.2f}"
    toggle = "pass --mirror B" if mirrored is None else f"leave --mirror {mirrored} out"
    return {
        "left-right": f"cameras B and S see the scene mirrored left to right ({seen}); {toggle}",
        "up-down": f"cameras B and S see the scene mirrored top to bottom ({seen}); turn one of them by 180 degrees"
        f" and {toggle}",
        "half turn": f"one of the cameras B and S stands on its head ({seen}); turn it by 180 degrees",
    }[best]


def _single_warnings(camera: CameraRecord) -> Iterator[str]:
    name = f"camera {camera.role} ({camera.model})"
    mode = next((str(camera.features[key]) for key in SHUTTER_FEATURES if key in camera.features), None)
    if mode is None and camera.model.startswith(ROLLING_MODELS):
        mode = "Rolling"
    for begin, harm in ROLLING_SHUTTERS.items():
        if mode is not None and mode.startswith(begin):
            yield f"{name} has a {begin} shutter: {harm}; use a camera with a global shutter"
    if camera.black_level <= 0:
        yield (
            f"{name} has black level 0: half of the noise in the dark is cut off; raise its black level to"
            f" {2**camera.bit_depth // 64} DN"
        )
    rate_hz = _frame_rate_hz(camera)
    if rate_hz is not None and camera.exposure_ms * rate_hz > 1000:
        yield (
            f"{name} is exposed for {camera.exposure_ms:g} ms, longer than the {1000 / rate_hz:g} ms between frames at"
            f" {rate_hz:g} frames per second; lower the rate or shorten the exposure"
        )


def _frame_rate_hz(camera: CameraRecord) -> float | None:
    """Frames per second the camera is held to; None if it follows triggers alone."""
    if str(camera.features.get(FRAME_RATE_ENABLED, "0")).lower() not in ("1", "true", "on"):
        return None
    return next((rate for rate in (_number(camera, name) for name in FRAME_RATES) if rate), None)


def _unequal_warnings(blurred: CameraRecord, sharp: CameraRecord) -> Iterator[str]:
    compared = {
        "models": (blurred.model, sharp.model, "use two of one model: their noise and colours should be alike"),
        "frame sizes": (
            f"{blurred.width}x{blurred.height}",
            f"{sharp.width}x{sharp.height}",
            "pass --size WxH that both can deliver",
        ),
        "pixel formats": (_layout(blurred), _layout(sharp), "set the same --bit-depth and use cameras of one kind"),
    }
    for what, (first, second, remedy) in compared.items():
        if first != second:
            yield f"cameras B and S have unequal {what} ({first} and {second}); {remedy}"
    for what, (names, tolerance, remedy) in UNEQUAL_FEATURES.items():
        for name in names:
            one, other = _number(blurred, name), _number(sharp, name)
            if one is not None and other is not None:
                if abs(one - other) > tolerance:
                    yield f"cameras B and S have unequal {what} ({one:g} and {other:g}); {remedy}"
                break


def _layout(camera: CameraRecord) -> str:
    """The pixel format without the order of colours, which a flip may change: Bayer12 for BayerRG12."""
    name = camera.pixel_format
    return name[:5] + name[7:] if name.startswith("Bayer") else name


def _number(camera: CameraRecord, name: str) -> float | None:
    try:
        return float(camera.features[name])
    except (KeyError, TypeError, ValueError):
        return None


def _flipped(picture: FloatArray, axes: tuple[int, ...]) -> FloatArray:
    return np.ascontiguousarray(np.flip(picture, axes)) if axes else picture
