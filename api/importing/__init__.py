"""Import of a country's existing cases, on the node itself."""
