"""Agents that are functions: run again from the beginning, with what they asked for before given back."""
