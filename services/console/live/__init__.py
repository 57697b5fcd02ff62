"""The live edge: every service's events by position, as Server-Sent Events and as pages."""
