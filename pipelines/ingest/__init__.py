"""Footage in: probe, cut, normalise."""
