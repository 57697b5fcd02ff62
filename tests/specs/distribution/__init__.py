"""distribution's rules, one spec file a stream."""
