"""Weights that come with retlib: one state dict (``.pt``) and its card (``.json``), see `retlib.predict.weights`."""
