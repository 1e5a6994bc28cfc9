"""Shapes of blur masks."""
