"""The procedure: the protocol, the registry, the rules, and the state of a case."""
