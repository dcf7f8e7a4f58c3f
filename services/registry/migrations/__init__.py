"""The stored form of the registry's data, and the numbered steps from each form to the next."""
