"""Anybody's judgements or ratings."""
