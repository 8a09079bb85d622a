"""Side-by-side figures: a natscope run beside the same model calls made by hand."""
