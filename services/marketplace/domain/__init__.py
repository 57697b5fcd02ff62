"""Marketplace's rules: pure deciders and folds, one module per stream."""
