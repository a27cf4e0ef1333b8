"""What policies write and learn from: tasks, critics, losses, rollouts."""
