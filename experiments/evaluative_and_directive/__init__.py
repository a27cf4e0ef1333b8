"""Verdicts, hints and both: what a policy learns from replies."""
