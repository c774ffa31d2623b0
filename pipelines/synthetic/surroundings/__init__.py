"""Places around the people, built from a seed."""
