"""OpenAPI: the routes of the catalogue, and the platform's own, as one document."""
