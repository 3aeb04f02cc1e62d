"""The chaos test: the real application, its real clients and the stand-ins on one virtual clock, with everything that
goes wrong between them drawn from a seed, and what must be true all the same.
"""
