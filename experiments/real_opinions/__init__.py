"""What personal rewards do to real opinions."""
