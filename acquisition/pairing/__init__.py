"""Which two frames belong together, by counters and by a fit of the cameras' clocks."""
