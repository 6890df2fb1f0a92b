"""What every stage stands on: settings, databases, ids, hashes, units of work, jobs and errors."""
