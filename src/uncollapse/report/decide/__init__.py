"""What the inputs say: the first screen, the phase diagram, the numbers that are looked up."""
