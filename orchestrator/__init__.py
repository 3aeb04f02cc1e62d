"""One ephemeral GitHub Actions runner per queued workflow job, as an Azure Batch task."""
