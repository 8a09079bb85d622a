"""The tools that the executor serves: the port they share, what holds them, and those that are built in."""
