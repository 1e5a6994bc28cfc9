"""What a pair is, how it is stored, and how it is made without a rig."""
