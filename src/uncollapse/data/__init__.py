"""Sources, splits, samplers and views."""
