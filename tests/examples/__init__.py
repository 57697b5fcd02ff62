"""Named example data: people, plans, events and streams that the tests of every ring talk about."""
