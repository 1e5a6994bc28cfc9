"""Metrics, comparisons and their report."""
