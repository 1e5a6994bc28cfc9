"""What a camera is, and the three kinds: Basler's, its emulator's, and a simulated one with faults."""
