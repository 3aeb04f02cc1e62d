"""Stand-ins for GitHub and Azure on one machine: for the demo, the tests and local work. Never deployed."""
