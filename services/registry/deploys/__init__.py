"""From what lies in a source to what runs: built, stored, put on the bus, and taken away again."""
