"""Rules that decide: each was fixed before the runs that it judges, and takes scores as plain frames or arrays."""
