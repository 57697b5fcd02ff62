"""The verbs, a module a subject. Importing a module declares its verbs."""
