"""Who pays for the runners of a month: `reckoning` decides, `in_workspace` asks the log, the others show it."""
