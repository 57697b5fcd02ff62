"""The clients that other systems use, without a running system."""
