"""What the registry counts, in a collector registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The registry's numbers, exposed at `/metrics`."""

    def __init__(self) -> None:
        self.collector = CollectorRegistry()
        self.functions = Gauge("fnbus_registry_functions", "Functions in the catalogue", registry=self.collector)
        self.problems = Gauge("fnbus_registry_problems", "Things in the functions folder to be mended", registry=self.collector)
        self.conflicts = Gauge("fnbus_registry_conflicts", "Routes with more than one owner", registry=self.collector)
        self.deployments = Counter(
            "fnbus_registry_deployments", "Functions written to the store", ("change",), registry=self.collector
        )
        self.deploy_seconds = Histogram(
            "fnbus_registry_deploy_seconds",
            "From a change of the folder to a complete projection",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.collector,
        )
        self.projection_writes = Counter(
            "fnbus_registry_projection_writes", "Keys and bundles written or removed", ("kind",), registry=self.collector
        )
        self.history_rows = Counter("fnbus_registry_history_rows", "Executions stored", registry=self.collector)
        self.history_removed = Counter("fnbus_registry_history_removed", "Executions removed", registry=self.collector)
        self.audit_removed = Counter("fnbus_registry_audit_removed", "Audit records removed", registry=self.collector)
        self.layers = Gauge(
            "fnbus_registry_layers",
            "What was built for functions, by whether a version names it",
            ("state",),
            registry=self.collector,
        )
        self.layer_bytes = Gauge(
            "fnbus_registry_layer_bytes", "Bytes of that in the object store", ("state",), registry=self.collector
        )
        self.layers_removed = Counter("fnbus_registry_layers_removed", "Layers removed", registry=self.collector)
        self.dead_letters = Counter("fnbus_registry_dead_letters", "Event messages given up", registry=self.collector)
