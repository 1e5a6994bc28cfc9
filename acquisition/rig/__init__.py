"""The simulated rig: a scene seen by two cameras through a beam splitter, with the truth beside it."""
