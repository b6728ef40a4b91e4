"""How much may run: the machine's load, the policy over it, and the semaphore."""
