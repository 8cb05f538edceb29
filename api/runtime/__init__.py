"""The parts that all of a node uses: settings, database, health, status, background threads."""
