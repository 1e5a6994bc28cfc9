"""The pairs file (HDF5, schema version 1; see `store_schema`): what other modules use of it."""

from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.storage.masks import MasksWriter, masks_folder, write_mask_part
from localblur.datasets.storage.parts import files_identity, parts_folder, write_part
from localblur.datasets.storage.reader import PairsFile, SceneEntry
from localblur.datasets.storage.schema import SPLITS, StoreHeader, blur_cells
from localblur.datasets.storage.splits import DEFAULT_SPLIT, assign_splits
from localblur.datasets.storage.writer import PairsWriter

__all__ = [
    "COMPRESSIONS",
    "DEFAULT_SPLIT",
    "SPLITS",
    "Compression",
    "MasksWriter",
    "PairsFile",
    "PairsWriter",
    "SceneEntry",
    "StoreHeader",
    "assign_splits",
    "blur_cells",
    "files_identity",
    "masks_folder",
    "parts_folder",
    "write_mask_part",
    "write_part",
]
