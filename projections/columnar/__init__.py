"""The ledger as columns: Parquet files that grow with it, for questions on many cases at once.

The files hold ``ledger`` fields alone; nothing that a vault holds comes near them.
"""
