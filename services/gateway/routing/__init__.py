"""Which function a request is for: paths, patterns and the route table, without I/O."""
