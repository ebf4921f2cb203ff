"""What was found, for the person who decides."""
