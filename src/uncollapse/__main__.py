"""Run the command line as `python -m uncollapse`."""

from uncollapse.cli import main

if __name__ == "__main__":
    main()
