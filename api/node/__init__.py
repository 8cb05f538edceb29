"""A node as a whole: its parts, its set-up, its supervision."""
