"""Wrappers around the outside models that look at single frames."""
