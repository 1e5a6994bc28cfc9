"""How much a network computes."""

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from localblur.training.networks.base import RestorationNetwork


def count_macs(network: RestorationNetwork, size: tuple[int, int]) -> int:
    """Multiply-accumulate operations of convolutions and matrix products for one image.

    Nothing is computed: shapes alone run through the network, so that 68 M parameters and large images cost nothing.
    Element-wise operations, normalisations and resizing are not counted, as is usual in the field.

    Args:
        network: any network, on any device, in any mode; counted as in evaluation.
        size: height and width of the image, multiples of the network's `size_multiple`.
    """
    state = {name: torch.empty_like(value, device="meta") for name, value in network.state_dict().items()}
    image = torch.empty(1, 3, *size, device="meta")
    training = network.training
    network.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            functional_call(network, state, (image,))
    finally:
        network.train(training)
    return int(counter.get_total_flops()) // 2  # it counts a multiplication and an addition as two
