"""The `gateway` connector."""
