"""The API dialects that the gateway speaks, one folder each."""
