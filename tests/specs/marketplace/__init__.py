"""marketplace's rules."""
