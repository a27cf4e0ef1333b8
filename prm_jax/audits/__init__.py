"""Controls that catch a false gain."""
