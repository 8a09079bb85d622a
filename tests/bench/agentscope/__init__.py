"""A durable run of the house beside the same run of AgentScope."""
