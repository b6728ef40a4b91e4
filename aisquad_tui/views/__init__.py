"""How things look: pure functions from the picture to lines of text with roles."""
