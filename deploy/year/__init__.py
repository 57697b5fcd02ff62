"""The year: a simulated year of many sandbox customers, on a running system."""
