"""One command that measures what fnbus promises, beside the floor that nothing of its kind can go below."""
