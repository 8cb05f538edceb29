"""The machine that a node runs on: its clock, files, telemetry, and work that goes on in it."""
