"""How many answers a person has to give."""
