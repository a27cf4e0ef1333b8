"""Whether personal reward models build echo chambers."""
