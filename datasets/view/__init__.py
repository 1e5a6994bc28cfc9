"""The page of `view-dataset`."""
