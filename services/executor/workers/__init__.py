"""Worker processes: how one boots, is spoken to, is watched and ends, and the spares that wait for code."""
