"""One webhook delivery in, one answer out; and what could not be served at once, tried again."""
