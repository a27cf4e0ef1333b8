"""Reward models that reason before they score, in a world and in words."""
