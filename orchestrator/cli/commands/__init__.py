"""The commands, one file for each group. A command reads its options, calls a use case and prints what comes back."""
