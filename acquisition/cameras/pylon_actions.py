"""GigE Vision action commands: one message on the network begins an exposure in every camera it addresses.

https://docs.baslerweb.com/scheduled-action-commands
"""

import logging
from typing import Any

from localblur.acquisition.cameras.camera import CameraError, TriggerSettings
from localblur.acquisition.cameras.pylon_sdk import pylon, translated

logger = logging.getLogger(__name__)

CAMERAS = 2
ANSWER_TIMEOUT_MS = 100
TRANSPORT_LAYER = "BaslerGigE"
NOBODY = "0.0.0.0"
"""In place of the address of a camera that did not answer in time."""
REFUSALS = {
    pylon.GigEActionCommandStatus_NoRefTime: "its clock is not synchronised (PTP)",
    pylon.GigEActionCommandStatus_Overflow: "its queue of action commands is full",
    pylon.GigEActionCommandStatus_ActionLate: "the command came too late",
}


class ActionSender:
    """Sends action commands to all network adapters; made at the first command, `close` frees it."""

    def __init__(self) -> None:
        self._layer: Any = None

    def send(self, trigger: TriggerSettings, at_ns: int | None) -> None:
        """Ask all cameras of the group for one exposure, at `at_ns` of their common clock or at once.

        Raises:
            CameraError: `timeout` if a camera answers that it will not: no frame will come.
        """
        with translated("action command"):
            if self._layer is None:
                self._layer = pylon.TlFactory.GetInstance().CreateTl(TRANSPORT_LAYER)
            address = (trigger.device_key, trigger.group_key, trigger.group_mask)
            if at_ns is None:
                command = self._layer.ActionCommand(*address)
            else:
                command = self._layer.ScheduledActionCommand(*address, at_ns)
            _, answers = command.IssueWait(ANSWER_TIMEOUT_MS, CAMERAS)
        answered = [(camera, status) for camera, status in answers if camera != NOBODY]
        for camera, status in answered:
            if status != pylon.GigEActionCommandStatus_Ok:
                reason = REFUSALS.get(status, f"status {status}")
                raise CameraError("timeout", f"action command: the camera at {camera} does not take it: {reason}")
        if len(answered) < CAMERAS:  # a lost answer is no lost exposure: whether frames come decides
            logger.debug("%d of %d cameras answered the action command", len(answered), CAMERAS)

    def close(self) -> None:
        """Free the transport layer; closing twice is harmless."""
        if self._layer is not None:
            with translated("action commands"):
                pylon.TlFactory.GetInstance().ReleaseTl(self._layer)
            self._layer = None
