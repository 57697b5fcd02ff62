"""The operator's command, `tenure`: a file a family of verbs. See cli/README.md."""
