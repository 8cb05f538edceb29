"""Finds whether two countries opened a case on the same person, without naming the person."""
