"""LBFMG: the blurred pixels of a pair, by pair, background subtraction or sequence."""
