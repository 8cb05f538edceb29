"""Papers for data-protection officers, made from the protocol and from what the program keeps."""
