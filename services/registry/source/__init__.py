"""A functions folder: what lies in it, what that means, and when it changes."""
