"""The background jobs of a node, which its worker process runs."""
