"""What a run is made of: its folder, state, checkpoints, journal and single steps."""
