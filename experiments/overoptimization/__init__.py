"""The study of over-optimisation: what selection by a learned reward finds."""
