"""Attacks on the platform from inside functions, each of which has to fail."""
