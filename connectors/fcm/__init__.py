"""The `fcm` connector."""
