"""The `fnbus` command: the whole platform on one machine, single services, and a client to a gateway."""
