"""Displacement fields and their robust fit."""
