"""What every part of a node uses: settings, database, health, status, background threads."""
