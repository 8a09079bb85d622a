"""Deeds: foreign code runs in cells, and every tool answers at one door."""
