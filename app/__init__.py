"""The domain of Postroom and the HTTP face above it. Imports `connectors`, never `tasks`."""
