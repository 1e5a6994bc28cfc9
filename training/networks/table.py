"""The table of networks. A new network is one file, one line here, and one test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings, validate
from localblur.training.networks.base import RestorationNetwork
from localblur.training.networks.lbag import LBAG, LBAGOptions, LBAGSmallOptions


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """How to build one network; calling an entry without options builds the published model."""

    build: Callable[[Any], RestorationNetwork]
    options: type[Settings]

    def __call__(self, options: Mapping[str, Any] | None = None) -> RestorationNetwork:
        """Build with freshly initialised weights; unknown or wrong options are a `LocalblurError`."""
        return self.build(self.resolve(options))

    def resolve(self, options: Mapping[str, Any] | None = None) -> Settings:
        """All options, defaults filled in."""
        return validate(self.options, options or {}, "network options")


NETWORKS: dict[str, NetworkEntry] = {
    "lbag": NetworkEntry(build=LBAG, options=LBAGOptions),
    "lbag-small": NetworkEntry(build=LBAG, options=LBAGSmallOptions),
}


def network_entry(name: str) -> NetworkEntry:
    """The entry of `name`; an unknown name is a `LocalblurError` that lists the known ones."""
    if name not in NETWORKS:
        raise LocalblurError(f"unknown network {name!r}; known networks: {', '.join(NETWORKS)}")
    return NETWORKS[name]
