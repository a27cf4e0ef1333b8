"""Pure functions: no parameters, no state, no jit."""
