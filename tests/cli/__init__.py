"""The operator's command: its words, its answers from real stores, its ends."""
