"""entitlements: seats, update rights and credits."""
