"""The real deciders, consumers, relay and timers on a simulated PostgreSQL, Kafka and clock, all chosen by one seed."""
