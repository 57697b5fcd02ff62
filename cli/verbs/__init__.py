"""The verbs, one module for each subject; importing a module declares its verbs."""
