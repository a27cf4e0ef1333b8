"""Likelihoods, scores and penalties of reward heads, as pure functions."""
