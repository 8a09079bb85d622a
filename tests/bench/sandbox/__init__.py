"""The bench of the sandbox."""
