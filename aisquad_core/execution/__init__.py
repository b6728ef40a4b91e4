"""How operations run: scheduling, admission, processes."""
