"""Quality measures of an aligned pair and the verdict."""
