"""What is durable: the work state in SQLite."""
