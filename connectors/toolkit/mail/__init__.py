"""E-mail for connectors: compose outbound messages, read inbound ones."""
