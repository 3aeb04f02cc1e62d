"""Workflow jobs: what GitHub says of one, whether it gets a runner, and one that waits to be tried again."""
