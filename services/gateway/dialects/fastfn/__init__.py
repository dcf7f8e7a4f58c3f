"""FastFN's control plane: `/_fn/*`."""
