"""Studies. Leaves: nothing imports them."""
