"""Networks; flax lives only here."""
