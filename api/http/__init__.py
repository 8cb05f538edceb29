"""The HTTP application: its routes, limits, errors and streams."""
