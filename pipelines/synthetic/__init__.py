"""Rendered humans with exact ground truth."""
