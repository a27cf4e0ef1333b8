"""The study of reward heads: which head for which data."""
