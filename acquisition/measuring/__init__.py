"""What frames tell of exposure, filter, noise, stillness and evenness; pure functions."""
