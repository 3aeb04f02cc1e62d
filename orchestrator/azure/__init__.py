"""The edge to Azure: runner tasks and pools on Batch, and the storage queues."""
