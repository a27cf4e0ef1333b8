"""Jester: ratings of jokes."""
