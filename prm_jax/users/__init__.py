"""User models: beliefs about one person; vmap for many."""
