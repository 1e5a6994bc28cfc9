"""The table of networks. A new network is one file, one line here, and one test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings, validate
from localblur.training.networks.base import RestorationNetwork
from localblur.training.networks.deblurgan import DeblurGAN, DeblurGANOptions
from localblur.training.networks.deepdeblur import (
    DeepDeblur,
    DeepDeblurK1Options,
    DeepDeblurK2Options,
    DeepDeblurOptions,
)
from localblur.training.networks.lbag import LBAG, LBAGOptions
from localblur.training.networks.lbag_small import LBAGSmall, LBAGSmallOptions
from localblur.training.networks.mimo_unet import MIMOUNet, MIMOUNetOptions, MIMOUNetPlusOptions
from localblur.training.networks.nafnet import NAFNet, NAFNetOptions, NAFNetW64Options
from localblur.training.networks.restormer import Restormer, RestormerOptions
from localblur.training.networks.tiny import Tiny, TinyOptions
from localblur.training.networks.unet_autoencoder import UNetAutoencoder, UNetAutoencoderOptions


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
    # the same network as lbag; what makes the difference is that its training begins with the weights of MIMO-UNet+
    "lbag-plus": NetworkEntry(build=LBAG, options=LBAGOptions),
    "lbag-small": NetworkEntry(build=LBAGSmall, options=LBAGSmallOptions),
    "mimo-unet": NetworkEntry(build=MIMOUNet, options=MIMOUNetOptions),
    "mimo-unet-plus": NetworkEntry(build=MIMOUNet, options=MIMOUNetPlusOptions),
    "deepdeblur-k1": NetworkEntry(build=DeepDeblur, options=DeepDeblurK1Options),
    "deepdeblur-k2": NetworkEntry(build=DeepDeblur, options=DeepDeblurK2Options),
    "deepdeblur-k3": NetworkEntry(build=DeepDeblur, options=DeepDeblurOptions),
    "deblurgan": NetworkEntry(build=DeblurGAN, options=DeblurGANOptions),
    "restormer": NetworkEntry(build=Restormer, options=RestormerOptions),
    "nafnet-w32": NetworkEntry(build=NAFNet, options=NAFNetOptions),
    "nafnet-w64": NetworkEntry(build=NAFNet, options=NAFNetW64Options),
    "unet-autoencoder": NetworkEntry(build=UNetAutoencoder, options=UNetAutoencoderOptions),
    "tiny": NetworkEntry(build=Tiny, options=TinyOptions),
}


def network_entry(name: str) -> NetworkEntry:
    """The entry of `name`; an unknown name is a `LocalblurError` that lists the known ones."""
    if name not in NETWORKS:
        raise LocalblurError(f"unknown network {name!r}; known networks: {', '.join(NETWORKS)}")
    return NETWORKS[name]
