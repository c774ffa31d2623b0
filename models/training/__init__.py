"""The training loop, checkpoints and Ray Train launch."""
