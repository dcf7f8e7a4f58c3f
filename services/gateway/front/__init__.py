"""What the gateway answers where no function has the path: home pages, static files, a list of what there is."""
