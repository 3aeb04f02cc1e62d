"""A container that has started asks for its registration: who may have it, once, and whether it is still wanted."""
