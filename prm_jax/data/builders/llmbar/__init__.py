"""LLMBar: which of two answers follows the instruction."""
