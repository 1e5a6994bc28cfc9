"""One holder at a time, and none that outlives its process."""

import subprocess
import sys

import pytest

from localblur.common.errors import LocalblurError
from localblur.common.locking import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from localblur.common.locking import FolderLock
lock = FolderLock(Path(sys.argv[1]), "used")
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path):
    first = FolderLock(tmp_path, "used")
    with pytest.raises(LocalblurError, match="is being used by another process"):
        FolderLock(tmp_path, "used")
    first.release()
    first.release()
    FolderLock(tmp_path, "used").release()


def test_a_killed_holder_holds_no_longer(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LocalblurError, match="by another process"):
        FolderLock(tmp_path, "used")
    process.kill()
    process.communicate()
    FolderLock(tmp_path, "used").release()
