"""What ran: taken from the stream, kept, counted, shown, forgotten."""
