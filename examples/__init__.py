"""Services to learn from. They run in tests only."""
