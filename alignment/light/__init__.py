"""Demosaicing, linear light, colour, brightness, vignetting and rendering."""
