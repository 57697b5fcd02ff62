"""The answers of the services' routes, as far as the pages read them: a module a subject.

Each names its route in its docstring. The console imports no service; a test compares the two.
"""
