"""What the services tell about themselves: logs, metrics, traces, and the endpoints that show them."""
