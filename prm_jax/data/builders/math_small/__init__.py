"""Problems of mathematics: sampled solutions, and arithmetic in words."""
