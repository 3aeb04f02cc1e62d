"""A GitHub App for the function: registered from a manifest, kept in a parameters file, connected to the function."""
