"""Packages found by the imports of a function's code, where its manifest names none. Pure."""
