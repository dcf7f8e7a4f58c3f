"""Attempts of jobs: pulled, claimed, run as calls are, and settled."""
