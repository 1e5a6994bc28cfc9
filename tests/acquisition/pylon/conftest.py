"""Small node maps and devices that behave like Basler's families, for tests without any camera."""

from types import SimpleNamespace

import pytest

from localblur.acquisition.cameras.camera import CameraError, CameraSettings, TriggerSettings
from localblur.acquisition.cameras.pylon import PylonCamera
from localblur.acquisition.cameras.pylon_nodes import Nodes
from localblur.acquisition.cameras.pylon_sdk import genicam

SETTINGS = CameraSettings(exposure_ms=5.0, width=96, height=64)


class Node:
    """A setting that behaves like GenICam's: access, range, entries, one value per selector, refusals."""

    def __init__(
        self, value, access=genicam.RW, *, low=0, high=10**9, step=1, entries=(), absent=(), per=None, keeps=None
    ):
        self.access, self.Min, self.Max, self.Inc = access, low, high, step
        self.name, self.Symbolics, self._absent = "", (*entries, *absent), absent
        self._per, self._first, self._values, self._keeps = per, value, {}, keeps

    @property
    def Value(self):  # noqa: N802 - GenICam's name
        if self.access not in (genicam.RO, genicam.RW):
            raise genicam.AccessException("Node is not readable. : AccessException thrown (file 'X', line 1)")
        value = self._values.get(self._key, self._first)
        return value() if callable(value) else value

    @Value.setter
    def Value(self, value):  # noqa: N802
        if self.access not in (genicam.RW, genicam.WO):
            raise genicam.AccessException("Node is not writable. : AccessException thrown (file 'X', line 1)")
        if self.Symbolics and value not in self.Symbolics:
            raise genicam.InvalidArgumentException("the value is invalid. : InvalidArgumentException thrown")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not self.Min <= value <= self.Max:
            raise genicam.OutOfRangeException(f"Value = {value} must be in range. : OutOfRangeException thrown")
        self._values[self._key] = value if self._keeps is None else self._keeps(value)

    @property
    def _key(self):
        return self._per.Value if self._per is not None else None

    def at(self, selected):
        return self._values.get(selected, self._first)

    def GetAccessMode(self):  # noqa: N802
        return self.access

    def GetEntryByName(self, name):  # noqa: N802
        return Node(name, genicam.NI if name in self._absent else genicam.RO) if name in self.Symbolics else None

    def GetNode(self):  # noqa: N802
        return self

    def GetName(self):  # noqa: N802
        return self.name

    def IsFeature(self):  # noqa: N802
        return True

    def GetPrincipalInterfaceType(self):  # noqa: N802
        return genicam.intfIString

    def ToString(self):  # noqa: N802
        return str(self.Value)


class Command(Node):
    """A node that does something; it can be written only."""

    def __init__(self, action=lambda: None):
        super().__init__(0, genicam.WO)
        self.Execute = action


class NodeMap:
    """Nodes by name; an unknown name raises, as pypylon 4 does."""

    def __init__(self, **nodes):
        self.nodes = nodes
        for name, node in nodes.items():
            node.name = name

    def GetNode(self, name):  # noqa: N802
        if name not in self.nodes:
            raise genicam.LogicalErrorException("Node not existing (file 'genicam_wrap.cpp', line 1)")
        return self.nodes[name]

    def GetNodes(self):  # noqa: N802
        return list(self.nodes.values())

    def __getitem__(self, name):
        return self.nodes[name].Value


def on_off(value):
    return Node(value, entries=("Off", "On"))


def common(formats, absent=()):
    """What all families have alike."""
    selector = Node("FrameStart", entries=("FrameBurstStart", "FrameStart"))
    line = Node("Line1", entries=("Line1", "Line2", "Line3"))
    channel = Node("Red", entries=("Red", "Green", "Blue"))
    nodes = {
        "PixelFormat": Node(formats[0], entries=formats, absent=absent),
        "Width": Node(1920, low=4, high=2448, step=4),
        "Height": Node(1080, low=2, high=2048, step=2),
        "OffsetX": Node(8, high=2352, step=4),
        "OffsetY": Node(8, high=1984, step=2),
        "ReverseX": Node(False),
        "GainAuto": Node("Continuous", entries=("Off", "Once", "Continuous")),
        "ExposureAuto": Node("Once", entries=("Off", "Once", "Continuous")),
        "BalanceWhiteAuto": Node("Off", entries=("Off", "Once", "Continuous")),
        "BalanceRatioSelector": channel,
        "TriggerSelector": selector,
        "TriggerMode": Node("On", entries=("Off", "On"), per=selector),
        "TriggerSource": Node("Line1", entries=("Software", "Line1", "Line3", "Action1")),
        "TriggerActivation": Node("FallingEdge", entries=("RisingEdge", "FallingEdge")),
        "LineSelector": line,
        "LineMode": Node("Input", entries=("Input", "Output"), per=line),
        "LineInverter": Node(True, per=line),
        "LineSource": Node("Off", entries=("Off", "ExposureActive"), per=line),
        "AcquisitionStatusSelector": Node("FrameTriggerWait", entries=("FrameTriggerWait", "ExposureActive")),
        "AcquisitionFrameRateEnable": Node(True),
    }
    return nodes, channel


def ace2_usb():
    """SFNC names; its description lists a format that this model does not have."""
    nodes, channel = common(("Mono8", "BayerRG8", "BayerRG12", "BayerRG12p"), absent=("BayerGB12",))
    exposure = Node(1000.0, low=19.0, high=1e7)
    return NodeMap(
        **nodes,
        ExposureTime=exposure,
        BslEffectiveExposureTime=Node(lambda: exposure.Value + 2, genicam.RO),
        Gain=Node(3.5, high=36.0),
        BlackLevel=Node(0.0, high=255.0),
        BalanceRatio=Node(1.7, low=0.1, high=8.0, per=channel),
        BslColorSpace=Node("sRgb", entries=("Off", "sRgb")),
        BslLightSourcePreset=Node("Daylight5000K", entries=("Off", "Daylight5000K")),
        BslSharpnessEnhancement=Node(0.3, high=1.0),
        Gamma=Node(0.4, high=4.0),
        TriggerDelay=Node(0.0, high=1e6),
        AcquisitionFrameRate=Node(100.0, low=0.1, high=1e6),
        BslResultingAcquisitionFrameRate=Node(60.0, genicam.RO),
        TimestampLatch=Command(),
        TimestampLatchValue=Node(123_456, genicam.RO),
        DeviceTemperatureSelector=Node("Coreboard", entries=("Coreboard", "Sensor")),
        DeviceTemperature=Node(41.5, genicam.RO),
        DeviceLinkThroughputLimitMode=on_off("Off"),
        DeviceLinkThroughputLimit=Node(400_000_000, low=1_000_000, high=419_430_400, step=16),
    )


def ace_gige():
    """Classic names with Abs and Raw, action commands and network time, which changes the length of a tick."""
    nodes, channel = common(("Mono8", "BayerBG8", "BayerBG12", "BayerBG12Packed"))
    ptp, latched = Node(False), iter(("Listening", "Uncalibrated", "Slave"))
    status = Node("Disabled", genicam.RO)
    return NodeMap(
        **nodes,
        ExposureTimeAbs=Node(1000.0, low=28.0, high=1e6),
        GainRaw=Node(200, low=136, high=542),
        BlackLevelRaw=Node(0, high=1023),
        BalanceRatioAbs=Node(2.1, low=0.0, high=3.98, per=channel),
        ProcessedRawEnable=Node(True),
        GammaEnable=Node(True),
        LightSourceSelector=Node("Daylight", entries=("Off", "Daylight")),
        TriggerDelayAbs=Node(0.0, high=1e6),
        AcquisitionFrameRateAbs=Node(100.0, low=0.1, high=1e6),
        ResultingFrameRateAbs=Node(23.0, genicam.RO),
        GevIEEE1588=ptp,
        GevIEEE1588DataSetLatch=Command(lambda: status._values.update({None: next(latched)})),
        GevIEEE1588StatusLatched=status,
        GevTimestampTickFrequency=Node(lambda: 10**9 if ptp.Value else 125_000_000, genicam.RO),
        GevTimestampControlLatch=Command(),
        GevTimestampValue=Node(1000, genicam.RO),
        TemperatureAbs=Node(52.0, genicam.RO),
        GevSCPSPacketSize=Node(1500, low=220, high=16404, step=4),
        GevSCPD=Node(0, high=180_000),
        ActionSelector=Node(1, low=1, high=1),
        ActionDeviceKey=Node(0, genicam.WO, high=2**32 - 1),
        ActionGroupKey=Node(0, high=2**32 - 1),
        ActionGroupMask=Node(0, high=2**32 - 1),
    )


def bayer8():
    nodes, _ = common(("BayerGB8",))
    return NodeMap(**nodes, ExposureTime=Node(1000.0, low=1.0, high=1e6), BlackLevel=Node(0.0, high=31.0))


FAMILIES = {"ace2_usb": ace2_usb, "ace_gige": ace_gige, "bayer8": bayer8}


class Device:
    """What pylon calls an instant camera, around a node map."""

    def __init__(self, nodes, *, refuses=None):
        self.nodes, self.stream = nodes, NodeMap(AutoPacketSize=Node(True))
        self.refuses, self.removed, self.destroyed, self.grabbing = refuses, False, 0, False
        self.MaxNumBuffer = Node(5)
        self.calls = []

    def Open(self):  # noqa: N802
        if self.refuses:
            raise genicam.RuntimeException(self.refuses)

    def Close(self):  # noqa: N802
        self.grabbing = False

    def DestroyDevice(self):  # noqa: N802
        self.destroyed += 1

    def IsCameraDeviceRemoved(self):  # noqa: N802
        return self.removed

    def GetNodeMap(self):  # noqa: N802
        return self.nodes

    def GetStreamGrabberNodeMap(self):  # noqa: N802
        return self.stream

    def GetDeviceInfo(self):  # noqa: N802
        return SimpleNamespace(GetModelName=lambda: "a2A", GetDeviceClass=lambda: "BaslerUsb")

    def IsGrabbing(self):  # noqa: N802
        return self.grabbing

    def StartGrabbing(self, strategy):  # noqa: N802
        self.grabbing = True

    def StopGrabbing(self):  # noqa: N802
        self.grabbing = False

    def WaitForFrameTriggerReady(self, timeout, handling):  # noqa: N802
        self.calls.append("wait")
        return False

    def ExecuteSoftwareTrigger(self):  # noqa: N802
        raise genicam.AccessException("Node is not writable. : AccessException thrown")

    def RetrieveResult(self, timeout, handling):  # noqa: N802
        return SimpleNamespace(IsValid=lambda: False)


class Found(PylonCamera):
    """A camera that finds the given devices, one per attempt."""

    def __init__(self, *devices, role="B"):
        super().__init__(role, "4000")
        self.devices = list(devices)

    def _find(self):
        return self.devices.pop(0)


def open_camera(nodes, role="B"):
    camera = Found(Device(nodes), role=role)
    camera.open()
    return camera


def nodes_of(node_map):
    return Nodes(node_map, "camera B (4000)")


def set_up(trigger, **more):
    return SETTINGS.model_copy(update={"trigger": TriggerSettings(**trigger), **more})


def refused(action, message):
    with pytest.raises(CameraError, match=message) as failure:
        action()
    assert failure.value.kind == "refused"
    assert "\n" not in str(failure.value)


@pytest.fixture(params=FAMILIES)
def family(request):
    """What makes a node map of each family."""
    return FAMILIES[request.param]


@pytest.fixture
def basler():
    """The stand-ins above, for tests."""
    return SimpleNamespace(
        SETTINGS=SETTINGS,
        Node=Node,
        Command=Command,
        NodeMap=NodeMap,
        Device=Device,
        Found=Found,
        common=common,
        ace2_usb=ace2_usb,
        ace_gige=ace_gige,
        bayer8=bayer8,
        open_camera=open_camera,
        nodes_of=nodes_of,
        set_up=set_up,
        refused=refused,
    )
