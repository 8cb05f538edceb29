"""The demonstration: an invented story of two children, told as case actions."""
