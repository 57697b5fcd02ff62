"""A topic in memory for many subscribers, each of which is a position and a filter."""
