"""From recordings to comparable pairs: radiometry, colour, geometry, quality control and blur masks."""
