"""Tagged PDFs (PDF/UA-1) on A4: texts as values in, the same bytes for the same values out.

Nothing here reads a store, a clock or a request.
"""
