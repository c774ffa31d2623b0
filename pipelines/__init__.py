"""The work on data: plain functions, records in and records out."""
