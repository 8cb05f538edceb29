"""Recorded events: one signed action, the time of recording, and the exact bytes of both."""
