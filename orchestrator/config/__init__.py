"""What an operator sets: app settings, runner profiles, allowed callers."""
