"""Simulated people and texts whose truth is known."""
