"""Using a reward with frozen weights: choosing and writing answers."""
