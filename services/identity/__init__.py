"""identity: accounts, organisations, contracts, roles and sign-in."""
