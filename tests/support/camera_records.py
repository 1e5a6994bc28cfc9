"""What recordings of tests say about their cameras."""

from localblur.datasets.recording import CameraRecord


def camera_record(role, shape):
    """A 12-bit Bayer camera with frames of `shape`."""
    return CameraRecord(
        role=role,
        model="test",
        serial=role,
        pixel_format="BayerRG12",
        bit_depth=12,
        bayer="RGGB",
        width=shape[1],
        height=shape[0],
        black_level=64,
        white_level=4095,
        exposure_ms=2,
    )
