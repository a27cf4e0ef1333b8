"""Synthetic-Persona-Chat: two profiles, and a conversation of the two."""
