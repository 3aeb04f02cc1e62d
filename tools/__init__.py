"""What is done with the repository itself."""
