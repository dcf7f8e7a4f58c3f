"""What can be typed after `fnbus`, by subject: names, options, help texts; other modules of the command do the work."""
