"""Owns functions, their versions and the history of executions; the only writer of that data."""
