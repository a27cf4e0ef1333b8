"""Do personal reward models beat one model for everyone? A study."""
