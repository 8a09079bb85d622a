"""Every model provider behind one door."""
