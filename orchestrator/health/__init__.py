"""Proves the set-up by using it: questions to GitHub, Azure and the network, and what each answer means."""
