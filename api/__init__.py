"""The HTTP API, its typed client and the command line."""
