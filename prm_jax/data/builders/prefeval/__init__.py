"""PrefEval: stated preferences, and questions that put them to the test."""
