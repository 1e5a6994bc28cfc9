"""Where `capture` writes, and no emulated cameras but those a test asks for."""

import pytest


@pytest.fixture(autouse=True)
def no_cameras_of_its_own(monkeypatch):
    """`--emulate` sets the variable for the whole process; this puts it back."""
    monkeypatch.setenv("PYLON_CAMEMU", "0")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "recording"
