"""Everything that crosses the bus: frozen records, their bytes, and the subjects they travel on."""
