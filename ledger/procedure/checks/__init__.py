"""Checks of single kinds of action, by subject: what the protocol's data alone does not say."""
