"""Functions in the store: their documents, what is written of them and why, and which version a label leads to."""
