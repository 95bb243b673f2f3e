"""Code that connectors share."""
