"""The connectors to message providers: one package per provider.

Connectors of other packages are found by the entry-point group `postroom.connectors`.
"""
