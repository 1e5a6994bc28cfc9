"""Blur from video: reading, cuts, flow, interpolation, blending."""
