"""The outside world: the only modules that import a client."""
