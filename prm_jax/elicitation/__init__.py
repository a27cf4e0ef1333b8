"""Asking: which question next, and what an answer changes."""
