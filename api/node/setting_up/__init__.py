"""The set-up of a node: what each side makes, checks, and hands to the other sides."""
