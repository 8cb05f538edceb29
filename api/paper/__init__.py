"""Paper: tagged PDFs of cases, and of all that is held on one person."""
