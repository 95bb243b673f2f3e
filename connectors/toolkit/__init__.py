"""What connectors share."""
