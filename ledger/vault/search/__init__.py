"""Finds the persons of a country's own vault by name, identity number or telephone number."""
