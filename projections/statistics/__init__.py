"""Counts of cases that can be published without telling of anyone."""
