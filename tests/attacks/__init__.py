"""Attackers that stay: mutants of every file that is read, kills, two at once, a full disk."""
