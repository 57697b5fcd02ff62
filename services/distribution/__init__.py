"""distribution: updates, and their rollouts to desktops."""
