"""Turns time and submissions into events."""
