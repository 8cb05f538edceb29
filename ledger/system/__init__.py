"""The machine that a node runs on: its clock, its disk, its files, its telemetry, and the work that goes on in it."""
