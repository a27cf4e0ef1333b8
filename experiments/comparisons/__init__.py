"""What `prm compare` says of real sets, and judges beside their people."""
