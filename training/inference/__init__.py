"""Restoring pictures: windows, engines, skipping, files, ONNX."""
