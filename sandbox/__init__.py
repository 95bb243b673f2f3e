"""Simulated providers for `make run` and for tests. See `python -m sandbox --help`."""
