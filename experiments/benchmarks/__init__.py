"""Programs that compare speeds side by side, in one run."""
