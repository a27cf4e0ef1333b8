"""Safeguards: rewards in, bounded rewards out."""
