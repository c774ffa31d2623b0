"""Recipes: functions that return a frozen configuration of a run."""
