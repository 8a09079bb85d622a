"""The worker inside a cell: standard library only, Python 3.9 and later."""
