"""Textures, objects and their motion, integrated over an exposure."""
