"""GitHub's REST API: only what the orchestrator asks of it."""
