"""Read models, shared by the API and the command line."""
