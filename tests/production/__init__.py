"""Tests of what stands in `serving/` beside the code: containers, clusters, monitoring."""
