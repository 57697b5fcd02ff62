"""Event stores of other people, each run by its own program."""
