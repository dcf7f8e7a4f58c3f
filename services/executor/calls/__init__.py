"""Runs on their way from the bus to a worker and back, and what is told of them."""
