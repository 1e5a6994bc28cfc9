"""The pairs file (HDF5, schema version 1; see `store_schema`): what other modules use of it."""

from localblur.datasets.compression import COMPRESSIONS, Compression
from localblur.datasets.parts import files_identity, parts_folder, write_part
from localblur.datasets.splits import DEFAULT_SPLIT, assign_splits
from localblur.datasets.store_masks import MasksWriter, masks_folder, write_mask_part
from localblur.datasets.store_reader import PairsFile, SceneEntry
from localblur.datasets.store_schema import SPLITS, StoreHeader, blur_cells
from localblur.datasets.store_writer import PairsWriter

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
