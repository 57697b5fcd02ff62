"""Entry point of `python -m cli` and of `tenure`."""

from cli.app import main

if __name__ == "__main__":
    main()
