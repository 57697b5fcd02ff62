"""Given facts, when a command comes, then facts or a refusal."""
