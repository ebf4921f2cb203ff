"""The smallest change that prevents collapse, proven on short runs."""
