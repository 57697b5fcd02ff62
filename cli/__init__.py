"""The operator's command line, `tenure`; see cli/README.md."""
