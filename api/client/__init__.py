"""A typed client of the HTTP API, and the documents that the API answers with."""
