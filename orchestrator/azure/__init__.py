"""The edge to Azure: runner tasks and pools on Batch, and the function's storage, its queues and blobs."""
