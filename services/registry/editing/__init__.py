"""Functions that are read and written by the API: what a request means for files, and what the files say."""
