"""One module per kind of source; each lists rows and opens those that are asked for."""
