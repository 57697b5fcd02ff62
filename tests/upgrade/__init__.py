"""A rolling upgrade of every service and back, under load: `python -m tests.upgrade`."""
