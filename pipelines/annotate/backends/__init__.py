"""One outside model per file."""
