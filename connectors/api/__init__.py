"""Messages to any HTTP API."""
