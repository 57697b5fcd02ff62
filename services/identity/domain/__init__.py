"""The rules, pure: one file a stream."""
