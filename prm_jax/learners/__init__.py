"""Assembled algorithms: a system and the phases that fit it."""
