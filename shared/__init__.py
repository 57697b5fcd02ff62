"""What all services stand on: the event contract, the log engine, the runtime."""
