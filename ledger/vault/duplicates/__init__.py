"""Whether two countries opened a case on the same person, found without saying who it is."""
