"""Each service and the runtime, as their users meet them over HTTP."""
