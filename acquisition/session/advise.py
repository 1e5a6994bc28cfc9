"""What a recording's calibrations say about exposures, filters and sensors: the words of `capture --advise`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.acquisition.measuring.exposure import UNSURE_DENSITY, advise
from localblur.acquisition.measuring.photon_transfer import PhotonTransfer, estimate_photon_transfer
from localblur.acquisition.measuring.transmittance import measure_transmittance
from localblur.acquisition.session.plan import stored_sync
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import ROLES, CameraRecord, Recording, Role

STATIC, DARK, BRACKET = "calibration/static", "calibration/dark", "calibration/bracket"
GRAY_CARD = "hint: a gray card or an even white surface in view makes the density more certain than colours can"
MAX_FRAMES = 16
"""More frames do not make a mean better than the scene is still."""

Frames = list[npt.NDArray[Any]]


def advise_recording(recording: Recording, *, speed_px_per_ms: float | None = None) -> list[str]:
    """Advice from `calibration/static`; with `calibration/dark` the true black level, with `bracket` gain and noise.

    Args:
        speed_px_per_ms: how fast the fastest object of interest moves, in px of the frame; None if it is not known.

    Raises:
        LocalblurError: if there are no static pairs, or they are too dark, saturated or too few.
    """
    cameras = {role: _with_true_black(recording, role) for role in ROLES}
    frames = _frames(recording, STATIC)
    if not frames["B"]:
        raise LocalblurError(
            f"{recording.folder} holds no static pairs; record some with --calibrate static, or leave --output out to"
            " measure with the cameras now"
        )
    measured = measure_transmittance(frames["B"], frames["S"], cameras["B"], cameras["S"])
    advice = advise(
        measured,
        cameras["B"].exposure_ms,
        cameras["S"].exposure_ms,
        speed_px_per_ms=speed_px_per_ms,
        alignment=stored_sync(recording.manifest).alignment,
    )
    hint = [GRAY_CARD] if measured.density_error > UNSURE_DENSITY / 3 else []
    return [*advice.lines(), *hint, *_sensor_lines(recording, cameras)]


def _frames(recording: Recording, group: str) -> dict[Role, Frames]:
    found: dict[Role, Frames] = {"B": [], "S": []}
    for pair in recording.pairs(group)[:MAX_FRAMES]:
        for role, frame in zip(ROLES, recording.frames(group, pair.index), strict=True):
            found[role].append(frame)
    return found


def _with_true_black(recording: Recording, role: Role) -> CameraRecord:
    """The camera with the black level its dark frames show, where there are any."""
    camera, dark = recording.manifest.cameras[role], _frames(recording, DARK)[role]
    return camera.model_copy(update={"black_level": float(np.mean(dark))}) if dark else camera


def _sensor_lines(recording: Recording, cameras: dict[Role, CameraRecord]) -> list[str]:
    if not recording.pairs(BRACKET):
        return ["gain and read noise: record a bracket of an even white field with --calibrate bracket"]
    dark = _frames(recording, DARK)
    lines = []
    for role in ROLES:
        try:
            found = _transfer(recording, role, cameras[role], dark[role]).lines()
        except LocalblurError as error:  # a poor bracket must not cost the advice on light
            found = [f"gain and read noise: {error}"]
        lines += [f"camera {role}: {line}" for line in found]
    return lines


def _transfer(recording: Recording, role: Role, camera: CameraRecord, dark: Frames) -> PhotonTransfer:
    by_exposure: dict[float, Frames] = {}
    for pair in recording.pairs(BRACKET):
        exposure_ms = (pair.B if role == "B" else pair.S).exposure_ms
        frame = recording.frames(BRACKET, pair.index)[ROLES.index(role)]
        by_exposure.setdefault(exposure_ms, []).append(frame)
    single = [pair.averaged == 1 for pair in recording.pairs(DARK)[:MAX_FRAMES]]
    return estimate_photon_transfer(
        list(by_exposure.values()),
        camera,
        exposures_ms=list(by_exposure),
        dark=dark if len(dark) > 1 and all(single) else (),
    )
