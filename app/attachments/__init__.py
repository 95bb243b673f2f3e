"""The files of messages: where they are fetched from and how connectors receive them."""
