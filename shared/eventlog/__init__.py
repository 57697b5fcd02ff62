"""The engine: decide, append, publish, consume. Its guarantees stand in README.md beside this file."""
