"""What every service may use: records, ports and their adapters, telemetry, lifecycle."""
