"""The whole system, on real PostgreSQL and Kafka."""
