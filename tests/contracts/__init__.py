"""What others rely on: the bytes on the bus, the shapes of events, the settings that keep data."""
