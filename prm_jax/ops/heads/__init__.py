"""Likelihoods, scores and penalties of reward heads, as pure functions.

Nothing is reduced over rows and nothing is broadcast silently: shapes stand in
docstrings. Arguments below float32 are raised to it.
"""
