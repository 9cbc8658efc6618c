"""The guard: classifiers behind an HTTP API."""
