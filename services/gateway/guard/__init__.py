"""Who may use the control plane: rules (pure), counters, logins, and the guard that asks them all."""
