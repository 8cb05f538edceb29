"""Publication of the log: signed checkpoints, witnesses, timestamps."""
