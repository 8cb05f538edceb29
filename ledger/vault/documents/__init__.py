"""Documents of a country's vault: content in encrypted chunks, under a key of each document."""
