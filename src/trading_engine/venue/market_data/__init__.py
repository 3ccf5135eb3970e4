"""What the public may know of the books, made from the venue's events alone."""
