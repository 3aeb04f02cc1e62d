"""One ephemeral GitHub Actions runner per queued workflow job, as an Azure Batch task."""

import os

# pydantic looks for plugins in the metadata of every installed package before its first model: a sixth of a cold start,
# for plugins that nobody has.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
