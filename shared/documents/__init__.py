"""Documents of the event contract, made from the registry: schemas, examples, AsyncAPI."""
