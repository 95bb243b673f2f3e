"""The providers that the sandbox plays over HTTP."""
