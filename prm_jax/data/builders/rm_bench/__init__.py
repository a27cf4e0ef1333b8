"""RM-Bench: answers in three styles, right and subtly wrong."""
