"""What one step optimises, and the metrics of what comes out."""
