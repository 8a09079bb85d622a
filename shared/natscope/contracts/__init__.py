"""What is said between the processes: pydantic models and the doors (subjects) they pass through."""
