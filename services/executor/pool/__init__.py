"""Which call gets which worker, and when one is started or ended: decisions alone, pure."""
