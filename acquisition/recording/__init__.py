"""The recording loop: pairs from the cameras to the disk."""
