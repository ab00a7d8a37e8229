"""Images as arrays, and their colors."""
