"""Measurements beside yardsticks, in one interleaved run: `make bench`. Only counters are judged, never time."""
