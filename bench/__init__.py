"""Benchmarks that anyone can repeat: `make bench`.

Ratios compare two figures of the same run on the same machine. Repeated measurements are reported
by their median.
"""
