"""`python -m cli`, or `tenure`."""

from cli.app import main

if __name__ == "__main__":
    main()
