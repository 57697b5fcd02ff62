"""Says whether anything was lost, doubled, reordered or altered, from the stores and the topics alone."""
