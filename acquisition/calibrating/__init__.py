"""Checks of calibration recordings, at once while the rig still stands."""
