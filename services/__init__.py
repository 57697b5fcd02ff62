"""The four services. None imports another; they know each other by `shared.events` alone."""
