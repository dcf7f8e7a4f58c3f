"""Takes invocations from the queues and runs them in worker processes."""
