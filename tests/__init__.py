"""Rings of tests, from pure rules to the whole system."""
