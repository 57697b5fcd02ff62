"""SIGKILL at every executed line of the append, the relay and the consumer; afterwards the oracle must find nothing."""
