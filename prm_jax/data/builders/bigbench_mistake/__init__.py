"""BIG-Bench Mistake: chains of thought, and their first mistake."""
