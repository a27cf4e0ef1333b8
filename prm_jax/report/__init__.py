"""Tables, figures and one self-contained page, from results.json alone."""
