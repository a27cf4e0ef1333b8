"""LLMFAO: which of two models' outputs people chose."""
