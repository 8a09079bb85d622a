"""kill -9 at random instants: every promise held against what was really done."""
