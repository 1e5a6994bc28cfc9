"""Camera settings by name: found under whichever name a family has, set, read back and compared.

Works on any node map of GenICam's shape: the camera's, its stream grabber's, or a small one in a test.
"""

import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any, NoReturn

from localblur.acquisition.cameras.camera import CameraError, ErrorKind
from localblur.acquisition.cameras.pylon_sdk import first_sentence, genicam

logger = logging.getLogger(__name__)

Value = str | bool | int | float

_PRESENT = (genicam.RO, genicam.RW, genicam.WO)
_READABLE = (genicam.RO, genicam.RW)
_WRITABLE = (genicam.RW, genicam.WO)
_NO_SETTING = (genicam.intfICategory, genicam.intfIRegister)


@dataclass
class Changes:
    """What was found switched on and is now off; the first finding stays, however often the camera is set up again."""

    found: dict[str, tuple[str, str]] = field(default_factory=dict)

    def note(self, name: str, before: Value, after: Value) -> None:
        """Remember that setting `name` was `before` and is now `after`."""
        first, _ = self.found.get(name, (str(before), ""))
        self.found[name] = (first, str(after))

    def text(self) -> str:
        """For example `Gamma 2.0 -> 1.0; GainAuto Continuous -> Off`."""
        return "; ".join(f"{name} {before} -> {after}" for name, (before, after) in self.found.items())


class Nodes:
    """The settings of one node map.

    Args:
        node_map: has `GetNode(name)` and, for `texts`, `GetNodes()`.
        owner: how messages call the camera, for example `camera B (40001234)`.
    """

    def __init__(self, node_map: Any, owner: str) -> None:
        self._map, self.owner = node_map, owner

    def find(self, *names: str) -> Any:
        """The first of these settings that the camera has now, or None."""
        for name in names:
            try:
                node = self._map.GetNode(name)
            except genicam.GenericException:  # pypylon 4 raises, later ones hand out a placeholder
                continue
            if node is not None and node.GetAccessMode() in _PRESENT:
                return node
        return None

    def has(self, *names: str) -> bool:
        """Whether the camera has one of these settings now."""
        return self.find(*names) is not None

    def value(self, *names: str) -> Any:
        """The value of the first of these settings that can be read, or None."""
        for name in names:
            node = self.find(name)
            if node is not None and node.GetAccessMode() in _READABLE:
                return node.Value
        return None

    def offers(self, name: str) -> tuple[str, ...]:
        """What an enumeration can be set to now; nothing if the camera does not have it."""
        node = self.find(name)
        return () if node is None else tuple(entry for entry in node.Symbolics if _present(node, entry))

    def set(self, name: str, value: Value) -> None:
        """Set a setting that the camera must have, and read it back.

        Raises:
            CameraError: `refused`, with what the camera says or offers instead.
        """
        node = self.find(name)
        if node is None:
            self.refuse(f"has no setting {name}, which {value!r} should be set to")
        readable = node.GetAccessMode() in _READABLE
        try:
            if not readable or writable(node) or node.Value != value:
                node.Value = value
        except genicam.GenericException as error:
            offered = self.offers(name) if isinstance(value, str) else ()
            why = first_sentence(error) if not offered or value in offered else f"it offers {', '.join(offered)}"
            raise self.error("refused", f"does not take {name} = {value}: {why}") from error
        if readable and node.Value != value:
            self.refuse(f"was asked for {name} = {value} but has {node.Value}")

    def set_quantity(
        self, names: tuple[str, ...], wanted: float, *, what: str, unit: str, per_unit: float, tolerance: float
    ) -> None:
        """Set the first of these numbers that the camera has, and compare what it then says.

        Args:
            wanted: in `unit`, of which the camera's own number holds `per_unit`.
            what: how messages call it.
            tolerance: largest difference accepted, in the camera's unit.

        Raises:
            CameraError: `refused`, with the range.
        """
        node = self.find(*names)
        if node is None:
            self.refuse(f"has no {what} to set")
        if not node.Min <= wanted * per_unit <= node.Max:
            self.refuse(
                f"{what} {wanted} {unit} is outside its range of {node.Min / per_unit:g} to {node.Max / per_unit:g}"
                f" {unit}"
            )
        try:
            node.Value = wanted * per_unit
        except genicam.GenericException as error:
            raise self.error("refused", f"does not take {what} {wanted} {unit}: {first_sentence(error)}") from error
        if abs(node.Value - wanted * per_unit) > tolerance:
            self.refuse(f"was asked for {what} {wanted} {unit} but has {node.Value / per_unit:g} {unit}")

    def change(self, name: str, wanted: Value, changes: Changes | None = None) -> None:
        """Bring a setting to `wanted`, or to the end of its range nearest to it, where the camera has it.

        A camera that has the setting and keeps another value is warned of, never refused.
        """
        node = self.find(name)
        if node is None or node.GetAccessMode() not in _READABLE:
            return
        try:
            before = node.Value
            after = _fitting(node, before, wanted)
            if after is None or before == after:
                return
            if not writable(node):
                logger.warning("%s keeps %s = %s, wanted %s: it cannot be set now", self.owner, name, before, after)
                return
            node.Value = after
        except genicam.GenericException as error:
            logger.warning("%s keeps %s, wanted %s: %s", self.owner, name, wanted, first_sentence(error))
            return
        if changes is not None:
            changes.note(name, before, node.Value)

    def texts(self) -> dict[str, str]:
        """Every setting that can be read now, by name, in GenICam's own words."""
        found = {}
        for parameter in self._map.GetNodes():
            with contextlib.suppress(genicam.GenericException):  # a node that cannot be read now is no setting now
                node = parameter.GetNode()
                readable = parameter.GetAccessMode() in _READABLE
                if readable and node.IsFeature() and node.GetPrincipalInterfaceType() not in _NO_SETTING:
                    found[str(node.GetName())] = str(parameter.ToString())
        return found

    def error(self, kind: ErrorKind, what: str) -> CameraError:
        """A `CameraError` that names the camera."""
        return CameraError(kind, f"{self.owner}: {what}")

    def refuse(self, what: str) -> NoReturn:
        """Raise a `CameraError` of kind `refused`."""
        raise self.error("refused", what)


def writable(node: Any) -> bool:
    """Whether a node can be written now."""
    return bool(node.GetAccessMode() in _WRITABLE)


def _present(node: Any, entry: str) -> bool:
    # the symbolics of a family's description include entries that this model does not have
    found = node.GetEntryByName(entry)
    return found is not None and found.GetAccessMode() in _PRESENT


def _fitting(node: Any, before: Value, wanted: Value) -> Value | None:
    """`wanted` in the node's own type and range; None where the node is of another kind or has no such entry."""
    if isinstance(wanted, bool) or isinstance(before, bool):
        return wanted if isinstance(wanted, bool) and isinstance(before, bool) else None
    if isinstance(wanted, str) or isinstance(before, str):
        return wanted if isinstance(wanted, str) and isinstance(before, str) and _present(node, wanted) else None
    return type(before)(min(max(wanted, node.Min), node.Max))
