"""Classes that `dagster.yaml` names: storage, run coordinator, run launchers."""
