"""identity: who may do what."""
