"""Model-written evaluations: persona statements, political typology."""
