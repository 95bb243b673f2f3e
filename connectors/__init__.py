"""The connectors, one provider a file. Imports neither `app` nor `tasks`.

Others come from packages of their own, under the entry-point group `postroom.connectors`.
"""
