"""Running an exported network with onnxruntime; the counterpart of `TorchEngine`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from localblur.common.errors import LocalblurError
from localblur.training.inference.engine import enlarged, resident_bytes
from localblur.training.inference.onnx_export import (
    COARSE_GATE,
    GATE,
    IMAGE,
    INPUT,
    METADATA_KEY,
    ExportedModel,
    open_partial_session,
    open_session,
)

_PROBE_PX = 256
_ROOM = 1.5
"""Its memory grows in steps; one probe may have fitted into what was there."""


class OnnxEngine:
    """An ONNX file made by `export-model`.

    Raises:
        LocalblurError: if onnxruntime is not installed, or the file is missing, damaged or not made by export-model.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._gpu = path, device.type == "cuda"
        self._session: Any = open_session(path, gpu=self._gpu)
        self._finder: Any = None
        found = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        try:
            self.description = ExportedModel(**json.loads(found or "null"))
        except (TypeError, json.JSONDecodeError) as error:
            raise LocalblurError(f"{path} was not made by this program's export-model") from error
        self.size_multiple, self.margin_px = self.description.size_multiple, self.description.margin_px
        self.global_statistics = self.description.global_statistics
        # windows are handed over from the processor's memory, wherever they are computed
        self.device = torch.device("cpu")
        self._bytes_per_pixel: float | None = None

    @property
    def gated(self) -> bool:
        """See `Engine`."""
        return self.description.gated

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`.

        Raises:
            LocalblurError: if memory runs out, or the network returns NaN.
        """
        names = [IMAGE, GATE][: 1 + self.gated]
        return torch.cat(self._computed(self._session, window, names), dim=1).to(window.device)

    def find(self, window: torch.Tensor) -> torch.Tensor:
        """See `Engine`; with all the work of `run` where the file has no gate of its coarsest scale."""
        if not self.description.finds_early:
            return self.run(window)[:, 3:]
        if self._finder is None:
            self._finder = open_partial_session(self._path, COARSE_GATE, gpu=self._gpu)
        (gate,) = self._computed(self._finder, window, [COARSE_GATE])
        return enlarged(gate, window)

    def _computed(self, session: Any, window: torch.Tensor, names: Sequence[str]) -> list[torch.Tensor]:
        image = np.ascontiguousarray(window.detach().cpu().float().numpy())
        try:
            found = session.run(list(names), {INPUT: image})
        except Exception as error:  # onnxruntime raises kinds of its own
            size = f"{window.shape[-1]}x{window.shape[-2]}"
            told = " ".join(str(error).split())[:200]
            raise LocalblurError(
                f"onnxruntime failed on a window of {size} px ({told}); try a smaller --tile"
            ) from error
        results = [torch.from_numpy(values) for values in found]
        if not all(bool(torch.isfinite(values).all()) for values in results):
            raise LocalblurError("the network returned NaN or infinite values; its weights are damaged")
        return results

    def bytes_per_pixel(self) -> float:
        """From what the process grows by in a probe."""
        if self._bytes_per_pixel is None:
            before = resident_bytes()
            self.run(torch.full((1, 3, _PROBE_PX, _PROBE_PX), 0.5))
            least = 64 * torch.float32.itemsize
            self._bytes_per_pixel = max(least, _ROOM * (resident_bytes() - before) / _PROBE_PX**2)
        return self._bytes_per_pixel
