"""Reads files that may be hostile, in a process without network, files, secrets or much memory."""
