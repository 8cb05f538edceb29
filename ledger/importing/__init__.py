"""Existing cases of a country, row by row in HTCDS's terms, as signed actions of new cases."""
