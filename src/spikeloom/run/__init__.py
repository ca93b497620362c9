"""Runs: configuration, the training loop, checkpoints, records. The room that knows all names."""
