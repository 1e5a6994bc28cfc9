"""Names of camera settings: GenICam's Standard Feature Naming Convention first, then Basler's classic names.

Data only. Families differ: ace 2, dart R/M and boost R speak SFNC 2, classic ace GigE cameras use the names with Abs
and Raw. https://docs.baslerweb.com/sfnc-version-differences
"""

from collections.abc import Sequence

from localblur.datasets.recording import BayerPattern

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
"""In microseconds, both. The first one the camera has is set."""

EFFECTIVE_EXPOSURE = ("BslEffectiveExposureTime", *EXPOSURE)
"""The true exposure time in microseconds where the camera tells it, else the one it was set to."""

GAIN = ("Gain", "GainAbs")
"""In dB."""

RAW_GAIN = ("GainRaw",)
"""Without a unit; its minimum is the least gain."""

BLACK_LEVEL = ("BlackLevel", "BlackLevelAbs")
"""In DN of the pixel format."""

RAW_BLACK_LEVEL = ("BlackLevelRaw",)
"""In DN at 12 bits; at 8 bits sixteen of them make one DN on nearly all models. Dark frames tell the truth."""

WHITE_BALANCE = ("BalanceRatio", "BalanceRatioAbs")
"""Factor of the selected channel; cameras apply it to Bayer data too."""

EMULATOR_PACE = "ExposureTimeAbs"
"""The emulator has both exposure names, unlinked, and only this one paces its frames."""

TRIGGER_DELAY = ("TriggerDelay", "TriggerDelayAbs")
"""In microseconds, both."""

FRAME_RATE = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
"""Frames per second without a trigger."""

RESULTING_FRAME_RATE = ("BslResultingAcquisitionFrameRate", "ResultingFrameRate", "ResultingFrameRateAbs")
"""Frames per second that exposure, readout and link allow."""

PTP_ENABLE = ("PtpEnable", "GevIEEE1588")
PTP_LATCH = ("PtpDataSetLatch", "GevIEEE1588DataSetLatch")
PTP_STATUS = ("PtpStatus", "GevIEEE1588StatusLatched", "GevIEEE1588Status")
PTP_SERVO = ("PtpServoStatus",)
"""Locked where the clock of a slave follows its master's closely."""

TIMESTAMP_LATCH = (("TimestampLatch", "TimestampLatchValue"), ("GevTimestampControlLatch", "GevTimestampValue"))
"""The command that takes the time, and where it then stands, in ticks."""

TIMESTAMP_TICKS_PER_S = ("GevTimestampTickFrequency",)
"""GigE cameras count ticks, with PTP of another length than without; all others count nanoseconds."""

TEMPERATURE = ("DeviceTemperature", "TemperatureAbs")
"""In degrees Celsius."""

TEMPERATURE_SELECTOR = ("DeviceTemperatureSelector", "TemperatureSelector")
TEMPERATURE_PLACES = ("Sensor", "Sensorboard", "Coreboard")
"""Nearest to the pixels first."""

PACKET_SIZE = "GevSCPSPacketSize"
PACKET_DELAY = "GevSCPD"
AUTO_PACKET_SIZE = "AutoPacketSize"
"""Of the stream grabber: it would choose the packet size anew at each start."""
LINK_LIMIT = "DeviceLinkThroughputLimit"
"""In bytes per second; in force while ...Mode is On."""

STREAM_COUNTS = {
    "failed_buffers": "Statistic_Failed_Buffer_Count",
    "buffer_underruns": "Statistic_Buffer_Underrun_Count",
    "missed_frames": "Statistic_Missed_Frame_Count",
    "failed_packets": "Statistic_Failed_Packet_Count",
    "resend_requests": "Statistic_Resend_Request_Count",
    "resent_packets": "Statistic_Resend_Packet_Count",
    "resynchronizations": "Statistic_Resynchronization_Count",
}
"""Of the stream grabber, counted since the last start; GigE and USB count different things."""

OVERLAP: Sequence[tuple[str, str]] = (("OverlapMode", "On"), ("ExposureOverlapTimeMode", "Automatic"))
"""Lets an exposure begin while the frame before it is read out; most models do so anyway."""

# Order matters: a selector before what it selects, an automatic before the value it drives.
AUTOMATIC_OFF: Sequence[tuple[str, str | bool | int | float]] = (
    ("SequencerMode", "Off"),
    ("SequencerConfigurationMode", "Off"),
    ("SequenceEnable", False),
    ("SyncFreeRunTimerEnable", False),
    ("TestImageSelector", "Off"),
    ("TestPattern", "Off"),
    ("AcquisitionMode", "Continuous"),
    ("ExposureMode", "Timed"),
    ("BslExposureTimeMode", "Standard"),
    ("ExposureTimeMode", "Standard"),
    ("ExposureAuto", "Off"),
    ("GainSelector", "All"),
    ("GainAuto", "Off"),
    ("BlackLevelSelector", "All"),
    ("BalanceWhiteAuto", "Off"),
    ("TonalRangeAuto", "Off"),
    ("TonalRangeEnable", "Off"),
    ("BslAdaptiveToneMappingMode", "Off"),
    ("LightSourceSelector", "Off"),
    ("LightSourcePreset", "Off"),
    ("BslLightSourcePreset", "Off"),
    ("BslLightSourcePresetFeatureEnable", False),
    ("ColorAdjustmentEnable", False),
    ("BslColorAdjustmentEnable", False),
    ("ColorTransformationEnable", False),
    ("ProcessedRawEnable", False),
    ("ColorSpace", "RGB"),
    ("BslColorSpaceMode", "RGB"),
    ("BslColorSpace", "Off"),
    ("BslContrastMode", "Linear"),
    ("BslContrast", 0.0),
    ("BslBrightness", 0.0),
    ("BslHue", 0.0),
    ("BslSaturation", 1.0),
    ("BslSharpnessEnhancement", 0.0),
    ("SharpnessEnhancement", 0.0),
    ("SharpnessEnhancementAbs", 1.0),
    ("BslNoiseReduction", 0.0),
    ("NoiseReduction", 0.0),
    ("NoiseReductionAbs", 0.0),
    ("PgiMode", "Off"),
    ("DemosaicingMode", "Simple"),
    ("BslDefectPixelCorrectionMode", "StaticOnly"),
    ("BslVignettingCorrectionMode", "Off"),
    ("VignettingCorrectionMode", "Off"),
    ("ShadingEnable", False),
    ("GammaSelector", "User"),
    ("Gamma", 1.0),
    ("GammaEnable", False),
    ("LUTEnable", False),
    ("DigitalShift", 0),
    ("BslSensorBitDepthMode", "Auto"),
    ("BslMultipleROIColumnsEnable", False),
    ("BslMultipleROIRowsEnable", False),
    ("ROIZoneMode", "Off"),
    ("StackedZoneImagingEnable", False),
    ("BinningHorizontal", 1),
    ("BinningVertical", 1),
    ("DecimationHorizontal", 1),
    ("DecimationVertical", 1),
    ("BslScalingEnable", False),
    ("ScalingHorizontal", 1.0),
    ("ScalingVertical", 1.0),
    ("CenterX", False),
    ("CenterY", False),
    ("BslImageCompressionMode", "Off"),
    ("ImageCompressionMode", "Off"),
    ("AcquisitionFrameRateEnable", False),
)
"""Everything that would change values, geometry or timing behind our back; set where the camera has it."""

BAYER_PATTERNS: dict[str, BayerPattern] = {"RG": "RGGB", "GB": "GBRG", "GR": "GRBG", "BG": "BGGR"}

PIXEL_FORMATS = {
    12: tuple(f"Bayer{pattern}12{packing}" for packing in ("", "p", "Packed") for pattern in BAYER_PATTERNS),
    8: (*(f"Bayer{pattern}8" for pattern in BAYER_PATTERNS), "RGB8", "RGB8Packed"),
}
"""By bit depth, in the order in which they are tried."""
