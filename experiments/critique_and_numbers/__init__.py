"""Critiques beside numbers: what a policy learns from either."""
