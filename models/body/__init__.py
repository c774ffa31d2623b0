"""Human body models: the shipped free body and licensed SMPL files behind one interface."""
