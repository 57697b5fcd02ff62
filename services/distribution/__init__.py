"""distribution: what reaches the desktops."""
