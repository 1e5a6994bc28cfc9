"""What a camera makes of light: response, mosaic, noise."""
