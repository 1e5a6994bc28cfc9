"""A run of `align-dataset`: inputs, tasks, writer."""
