"""What `pairs-file` does: copies, splits, leakage, statistics."""
