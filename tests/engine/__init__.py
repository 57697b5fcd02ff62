"""The engine: one suite for every store, its pure plans, and its parts on real PostgreSQL and Kafka."""
