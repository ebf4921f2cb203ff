"""What the losses share: a batch in tiles, its denominators and pairs, and their gradient."""
