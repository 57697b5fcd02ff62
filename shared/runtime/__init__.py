"""The runtime of a service process: settings, logging, metrics, sign-in, HTTP, life cycle."""
