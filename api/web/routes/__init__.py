"""The pages, a file for each sort of work."""
