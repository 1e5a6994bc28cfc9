"""The live status line and the preview."""
