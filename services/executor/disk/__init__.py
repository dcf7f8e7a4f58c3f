"""What an executor has on its disk: bundles and layers by digest, fetched once."""
