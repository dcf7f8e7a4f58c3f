"""The four programs of fnbus; they never import each other and meet on the bus."""
