"""Tells agencies of what they owe, before it is due and once it is overdue."""
