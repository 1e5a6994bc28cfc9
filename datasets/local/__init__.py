"""Local blur without video: cut-outs moved over photographs, camera shakes."""
