"""The `natscope` command: thin over the client."""
