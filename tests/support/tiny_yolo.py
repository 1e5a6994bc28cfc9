"""A tiny ONNX file with YOLO's output, written byte by byte: a test needs no package that builds such files.

It looks at cells of 16 x 16 px of a picture of 64 x 64 and finds the red ones (class 0) and the blue ones (class 1).
"""

import struct
from pathlib import Path

import numpy as np

SIZE_PX, CELL_PX = 64, 16
_GRID = SIZE_PX // CELL_PX
_FLOAT, _INT64 = 1, 7
_INTS, _INT = 7, 2


def write_tiny_yolo(path: Path, layout: str = "v8") -> Path:
    """Write the detector, with the output layout `v8` or `v5`."""
    cells = _GRID**2
    y, x = np.divmod(np.arange(cells), _GRID)
    boxes = np.stack([(x + 0.5) * CELL_PX, (y + 0.5) * CELL_PX, *[np.full(cells, CELL_PX)] * 2])[None]
    colours = np.array([[1, -0.5, -0.5], [-0.5, -0.5, 1]]) / CELL_PX**2
    weights = np.broadcast_to(colours[..., None, None], (2, 3, CELL_PX, CELL_PX))
    constants = [
        _tensor("weights", weights.astype(np.float32)),
        _tensor("flat", np.array([1, 2, cells])),
        _tensor("boxes", boxes.astype(np.float32)),
        _tensor("certain", np.ones((1, 1, cells), np.float32)),
    ]
    parts = ["boxes", "classes"] if layout == "v8" else ["boxes", "certain", "classes"]
    nodes = [
        _node("Conv", ["image", "weights"], "cells", strides=[CELL_PX] * 2, kernel_shape=[CELL_PX] * 2),
        _node("Reshape", ["cells", "flat"], "classes"),
        _node("Concat", parts, "found" if layout == "v8" else "rows", axis=1),
    ]
    shape = [1, 6, cells]
    if layout == "v5":
        nodes.append(_node("Transpose", ["rows"], "found", perm=[0, 2, 1]))
        shape = [1, cells, 7]
    graph = [_field(1, node) for node in nodes] + [_field(2, b"tiny")] + [_field(5, constant) for constant in constants]
    graph += [_field(11, _value("image", [1, 3, SIZE_PX, SIZE_PX])), _field(12, _value("found", shape))]
    model = _varint_field(1, 8) + _field(7, b"".join(graph)) + _field(8, _varint_field(2, 13))
    path.write_bytes(model)
    return path


def _node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    content = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    content += _field(3, f"{kind} {output}".encode()) + _field(4, kind.encode())
    for name, value in attributes.items():
        if isinstance(value, int):
            packed = _varint_field(3, value) + _varint_field(20, _INT)
        else:
            packed = b"".join(_varint_field(8, item) for item in value) + _varint_field(20, _INTS)
        content += _field(5, _field(1, name.encode()) + packed)
    return content


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = _FLOAT if array.dtype == np.float32 else _INT64
    dims = b"".join(_varint_field(1, side) for side in array.shape)
    raw = np.ascontiguousarray(array, "<f4" if kind == _FLOAT else "<i8").tobytes()
    return dims + _varint_field(2, kind) + _field(8, name.encode()) + _field(9, raw)


def _value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(_field(1, _varint_field(1, side)) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _varint_field(1, _FLOAT) + _field(2, dims)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return struct.pack(f"{len(parts) + 1}B", *parts, value)
