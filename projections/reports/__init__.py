"""Reports over many cases: accountability, and the joint annual report."""
