"""Values that nobody may read back: sealed, kept, and handed to those functions alone that name them."""
