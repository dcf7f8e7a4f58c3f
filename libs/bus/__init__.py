"""The bus: one port, an adapter in memory for tests, and one for NATS."""
