"""Hooks: what an agent's file has stand around what its runs do."""
