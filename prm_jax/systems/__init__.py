"""Reward and user model together: fitting, reading people, predicting."""
