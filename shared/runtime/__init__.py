"""What every service process has besides its rules: settings, logging, metrics, sign-in, routes, a life cycle."""
