"""Why a job waits: what is asked about one job, what that means, and how it is shown."""
