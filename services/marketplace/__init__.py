"""marketplace: what is bought."""
