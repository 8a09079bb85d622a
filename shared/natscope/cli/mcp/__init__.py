"""`natscope mcp`: the agents of the house, and its tools, offered to MCP clients."""
