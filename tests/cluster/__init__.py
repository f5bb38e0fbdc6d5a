"""Tests of sfu/cluster."""
