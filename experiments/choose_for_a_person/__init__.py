"""Choosing a ready answer for a person."""
