"""How the two cameras are made to expose together: who triggers whom, and where the short exposure lies in the long."""

from typing import Literal

from pydantic import Field, model_validator

from localblur.acquisition.cameras.camera import Camera, CameraRecord, TriggerSettings
from localblur.acquisition.measuring.exposure import Alignment, trigger_delay_ms
from localblur.acquisition.pairing.pairing import FRAME_TIMEOUT_MS, Pairer, TriggeredPairer
from localblur.acquisition.pairing.stream_pairing import StreamPairer
from localblur.common.settings import Settings
from localblur.datasets.recording import Role

SyncMode = Literal["software", "line", "action"]


class SyncSettings(Settings):
    """Synchronisation of the rig; stored with a recording.

    Attributes:
        mode: `software`: the host triggers B and then S. `line`: B's output line, high while B exposes, triggers S.
            `action`: one GigE action command triggers both.
        alignment: where the short exposure lies in the long one.
        rate_hz: line mode: B runs by itself at this rate and losses are counted; None: the host triggers B for each
            pair, and a slow disk slows it down.
        output_line, input_line: B's output and S's input.
        edge: the edge at S's input where B's exposure begins: falling if the wiring inverts the signal.
        start_delay_ms: by how much S starts late by itself, from the data sheets: in line mode its input line delay and
            its exposure start delay (B's line tells its true start), otherwise S's exposure start delay minus B's.
    """

    mode: SyncMode = "software"
    alignment: Alignment = "centre"
    rate_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    output_line: str = "Line2"
    input_line: str = "Line1"
    edge: Literal["rising", "falling"] = "rising"
    start_delay_ms: float = Field(default=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> "SyncSettings":
        if self.rate_hz is not None and self.mode != "line":
            raise ValueError(f"a rate needs --sync line, where camera B runs by itself; --sync is {self.mode}")
        return self


def trigger_settings(sync: SyncSettings, exposures_ms: dict[Role, float]) -> dict[Role, TriggerSettings]:
    """What each camera is told about its trigger.

    Raises:
        LocalblurError: if the delay for the alignment would be negative.
    """
    delay_ms = trigger_delay_ms(
        sync.alignment, exposures_ms["B"], exposures_ms["S"], start_delay_ms=sync.start_delay_ms
    )
    if sync.mode == "action":
        return {"B": TriggerSettings(source="action"), "S": TriggerSettings(source="action", delay_ms=delay_ms)}
    if sync.mode == "software":  # the host waits between its triggers: no camera delays those
        return {"B": TriggerSettings(), "S": TriggerSettings()}
    master = TriggerSettings(
        source="software" if sync.rate_hz is None else "free", rate_hz=sync.rate_hz, output_line=sync.output_line
    )
    return {"B": master, "S": TriggerSettings(source="line", line=sync.input_line, edge=sync.edge, delay_ms=delay_ms)}


def make_pairer(sync: SyncSettings, cameras: tuple[Camera, Camera], records: dict[Role, CameraRecord]) -> Pairer:
    """The pairer for cameras that are set up for `sync`."""
    long_ms, short_ms = records["B"].exposure_ms, records["S"].exposure_ms
    timeout_ms = FRAME_TIMEOUT_MS + long_ms + short_ms
    delay_ms = trigger_delay_ms(sync.alignment, long_ms, short_ms, start_delay_ms=sync.start_delay_ms)
    if sync.rate_hz is None:
        each = sync.mode == "software"
        return TriggeredPairer(*cameras, each=each, delay_ms=delay_ms if each else 0.0, frame_timeout_ms=timeout_ms)
    period_ms = 1000 / sync.rate_hz
    return StreamPairer(
        *cameras,
        period_ms=period_ms,
        delay_ms=delay_ms + sync.start_delay_ms,
        frame_timeout_ms=timeout_ms + 2 * period_ms,
    )
