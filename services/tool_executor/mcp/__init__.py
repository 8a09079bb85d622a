"""Tools of MCP servers: declared in a file, connected, called, and told to the model as tools of ours."""
