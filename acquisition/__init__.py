"""Cameras, the simulated rig, and the recording of synchronised pairs; the only folder that knows a camera SDK."""
