"""What stands between user code and the host: one port, bubblewrap, and the lesser mode without it."""
