"""A small document store: one port, adapters for memory, SQLite and MongoDB."""
