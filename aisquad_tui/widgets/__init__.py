"""What draws: built from plain values, holds no engine and no rule of the work."""
