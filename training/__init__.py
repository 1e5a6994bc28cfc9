"""Networks, losses, metrics, training, evaluation and inference for local motion deblurring."""
