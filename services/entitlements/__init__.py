"""entitlements: what may be used."""
