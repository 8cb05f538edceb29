"""Keys, signatures and sealing: signed actions (SD-JWT), agencies' and countries' keys."""
