"""What a frozen embedding still knows."""
