"""Names of camera settings: GenICam's Standard Feature Naming Convention first, then Basler's classic names.

Data only. Families differ: ace 2, dart R/M and boost R speak SFNC 2, classic ace GigE cameras use the names with Abs
and Raw. https://docs.baslerweb.com/sfnc-version-differences
"""

from collections.abc import Sequence

from localblur.datasets.recording import BayerPattern

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
"""In microseconds, both. The first one the camera has is set."""

EFFECTIVE_EXPOSURE = ("BslEffectiveExposureTime",)
"""The true exposure time in microseconds where the camera tells it."""

GAIN = ("Gain",)
"""In dB."""

RAW_GAIN = ("GainRaw",)
"""Without a unit; its minimum is the least gain."""

BLACK_LEVEL = ("BlackLevel", "BlackLevelAbs")
"""In DN of the pixel format."""

RAW_BLACK_LEVEL = ("BlackLevelRaw",)
"""In DN at 12 bits; at 8 bits sixteen of them make one DN on nearly all models. Dark frames tell the truth."""

TIMESTAMP_TICKS_PER_S = ("GevTimestampTickFrequency",)
"""Classic GigE cameras count ticks; all others count nanoseconds."""

EMULATOR_PACE = "ExposureTimeAbs"
"""The emulator has both exposure names, unlinked, and only this one paces its frames."""

TRIGGER_ON_FRAME = (
    ("TriggerSelector", "FrameStart"),
    ("TriggerMode", "On"),
    ("TriggerSource", "Software"),
)

# Order matters: a selector before what it selects, an automatic before the value it drives.
AUTOMATIC_OFF: Sequence[tuple[str, str | bool | int | float]] = (
    ("AcquisitionMode", "Continuous"),
    ("ExposureMode", "Timed"),
    ("ExposureAuto", "Off"),
    ("GainSelector", "All"),
    ("GainAuto", "Off"),
    ("BalanceWhiteAuto", "Off"),
    ("LightSourceSelector", "Off"),
    ("LightSourcePreset", "Off"),
    ("BslLightSourcePreset", "Off"),
    ("BslLightSourcePresetFeatureEnable", False),
    ("ColorAdjustmentEnable", False),
    ("ColorTransformationEnable", False),
    ("BslColorSpace", "Off"),
    ("BslContrastMode", "Linear"),
    ("BslContrast", 0.0),
    ("BslBrightness", 0.0),
    ("BslSharpnessEnhancement", 0.0),
    ("SharpnessEnhancement", 0.0),
    ("BslNoiseReduction", 0.0),
    ("NoiseReduction", 0.0),
    ("PgiMode", "Off"),
    ("GammaEnable", False),
    ("Gamma", 1.0),
    ("LUTEnable", False),
    ("DigitalShift", 0),
    ("BinningHorizontal", 1),
    ("BinningVertical", 1),
    ("DecimationHorizontal", 1),
    ("DecimationVertical", 1),
    ("BslImageCompressionMode", "Off"),
    ("ImageCompressionMode", "Off"),
    ("AcquisitionFrameRateEnable", False),
)
"""Everything that would change values or geometry behind our back; set where the camera has it."""

BAYER_PATTERNS: dict[str, BayerPattern] = {"RG": "RGGB", "GB": "GBRG", "GR": "GRBG", "BG": "BGGR"}

PIXEL_FORMATS = {
    12: tuple(f"Bayer{pattern}12{packing}" for packing in ("", "p", "Packed") for pattern in BAYER_PATTERNS),
    8: (*(f"Bayer{pattern}8" for pattern in BAYER_PATTERNS), "RGB8", "RGB8Packed"),
}
"""By bit depth, in the order in which they are tried."""
