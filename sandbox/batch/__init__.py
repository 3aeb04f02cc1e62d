"""An Azure Batch stand-in: the wire format, pools with nodes and slots, and processes that run the tasks."""

from sandbox.batch.service import Batch

__all__ = ("Batch",)
