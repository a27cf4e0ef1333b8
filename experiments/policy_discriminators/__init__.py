"""A reward that tells policies apart moves a policy to a target."""
