"""Verification: every recorded event judged again, by keys that the parties hold."""
