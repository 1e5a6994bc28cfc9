"""Doors in and out: layouts of public data sets, importers, exporters."""
