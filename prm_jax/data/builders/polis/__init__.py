"""Polis: what people in public conversations think of statements."""
