"""Rig calibration and the alignment of one pair."""
