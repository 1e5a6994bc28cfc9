"""What `capture` leaves: frames, journals, checksums."""
