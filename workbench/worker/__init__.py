"""Long work: leases jobs and runs each in a subprocess of its own."""
