"""From stored patches to tensors: augmentation, batches, worker count."""
