"""What the benchmarks ran on."""

import platform
from importlib import metadata
from pathlib import Path

import psutil

from localblur.common.parallel import default_workers

PACKAGES = ("localblur", "torch", "numpy", "opencv-contrib-python", "h5py", "tifffile", "pypylon")


def describe_machine() -> list[str]:
    """Processor, memory, system, versions: one line each."""
    memory = psutil.virtual_memory().total / 2**30
    return [
        f"processor: {_processor()}, {default_workers()} cores; {memory:.0f} GiB memory",
        f"system: {platform.system()}, Python {platform.python_version()}",
        f"load when it began: {_load()}",
        "versions: " + ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES),
    ]


def _load() -> str:
    return ", ".join(f"{value:.1f}" for value in psutil.getloadavg()) + " processes in the last 1, 5 and 15 minutes"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
