"""Side-by-side figures of the model gateway: a model call through it beside the same call made by hand."""
