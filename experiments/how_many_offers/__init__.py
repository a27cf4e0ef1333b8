"""How many answers a person has to be offered."""
