"""Measurements that anyone can repeat: `make bench`.

Every ratio is of two figures from the same run on the same machine; where one is repeated, the
middle of the runs counts.
"""
