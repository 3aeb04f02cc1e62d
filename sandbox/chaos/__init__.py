"""The chaos test: the real application and its real clients on one virtual clock, with trouble drawn from a seed."""
