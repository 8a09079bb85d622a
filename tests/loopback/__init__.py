"""A provider on the loopback: real HTTP, programmable answers, every request counted."""
