"""Dagster definitions and the isa4d command."""
