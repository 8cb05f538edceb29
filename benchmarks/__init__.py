"""Measurements, apart from the tests. Each module is run by itself: python -m benchmarks.NAME."""
