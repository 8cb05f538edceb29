"""What routes and commands ask of a node: append, open personal data, tell the status."""
