"""One folder per language: a host side that says how to start it, and a guest in the language itself."""
