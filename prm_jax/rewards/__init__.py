"""Reward models: how good an answer is, for a belief about a person."""
