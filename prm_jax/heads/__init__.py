"""How scores become what people say: likelihoods, and how to serve them."""
