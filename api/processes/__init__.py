"""The processes of a node: the HTTP server, the worker, their supervisor."""
