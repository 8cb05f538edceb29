"""The services of a node for routes and commands: append, open personal data, status."""
