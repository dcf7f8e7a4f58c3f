"""Where the files of functions live: a folder on disk, or the registry's store."""
