"""Training of networks by gradient: what is made small, what turns gradients into steps, and when it ends."""
