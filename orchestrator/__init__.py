"""One ephemeral GitHub Actions runner per queued workflow job, as an Azure Batch task."""

# The release, as pyproject.toml has it; a test compares the two.
__version__ = "1.0.0"
