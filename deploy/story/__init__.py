"""The story: the main business process, run on a running system (`make story`)."""
