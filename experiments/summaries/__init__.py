"""Summaries that a person can read, learned with the reward that reads them."""
