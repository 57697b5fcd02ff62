"""A sandbox of customers lives one year in minutes, by moved clocks, through the public doors."""
