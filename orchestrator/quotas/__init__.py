"""How many runners a repository or a profile may have at once, and whose turn it is."""
