"""How things are: one page for operators, from what the last pass recorded and the size of each pool."""
