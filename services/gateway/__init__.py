"""The gateway: HTTP in; matches, admits, puts the call on the bus, answers."""
