"""Data sets: one schema, splits by hash, TFDS builders, grain pipelines."""
