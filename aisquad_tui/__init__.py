"""aisquad's face: the command and, to come, the screen."""
