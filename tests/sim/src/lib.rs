//! Simulates the tunnel with the enforcer; everything is in `tests/`.
