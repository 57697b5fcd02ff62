"""The drill: a random part of a system is lost, and restored as docs/RUNBOOK.md says."""
