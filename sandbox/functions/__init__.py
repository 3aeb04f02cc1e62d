"""A Functions host for one machine: Microsoft's own runtime for Python, and around it what the .NET host does."""
