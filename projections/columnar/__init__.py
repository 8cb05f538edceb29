"""The ledger as columns: Parquet files that grow with it, for whoever asks of many cases at once.

They hold ``ledger`` fields alone; nothing that a vault holds comes near them.
"""
