"""The private keys on this machine: where they are, whether they are lost, old or ending."""
