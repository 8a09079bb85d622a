"""Memory: what was said in sessions and in hubs, and what of it an agent hears."""
