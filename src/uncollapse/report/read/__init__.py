"""What each path holds, by its content: cases with their measurements, runs and pictures."""
