"""One job, one runner: its task, its registration, starting it and cancelling it."""
