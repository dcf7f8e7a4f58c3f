"""HTTP requests that functions have the platform send: where they may go, and a client that goes nowhere else."""
