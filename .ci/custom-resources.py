"""The Prometheus operator's objects in files of manifests, by the models of its own definitions.

Models drop a field that they do not know, so what comes out of them has to be what went in. A rule's
groups have to be those of deploy/alerts/nettoll.rules.yaml, which promtool checks and tests.
"""

import sys

import yaml
from cloudcoil.models.prometheus_operator import v1

GROUP = "monitoring.coreos.com/v1"


def different(told, known, where=""):
    """Where an object has what its model does not."""
    if isinstance(told, dict) and isinstance(known, dict):
        return [place for key in told for place in different(told[key], known.get(key), f"{where}.{key}")]
    if isinstance(told, list) and isinstance(known, list) and len(told) == len(known):
        both = zip(told, known)
        return [place for at, pair in enumerate(both) for place in different(*pair, f"{where}[{at}]")]
    return [] if told == known else [where]


with open("deploy/alerts/nettoll.rules.yaml", encoding="utf-8") as file:
    tested = yaml.safe_load(file)["groups"]

kinds = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        objects = [found for found in yaml.safe_load_all(file) if found]
    for told in (found for found in objects if found["apiVersion"] == GROUP):
        name = f"{path}: {told['kind']} {told['metadata']['name']}"
        try:
            model = getattr(v1, told["kind"]).model_validate(told)
        except ValueError as error:
            sys.exit(f"{name}: {error}")
        known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if places := different(told, known):
            sys.exit(f"{name}: the operator does not know {', '.join(places)}")
        if told["kind"] == "PrometheusRule" and told["spec"]["groups"] != tested:
            sys.exit(f"{name}: its groups are not those of deploy/alerts/nettoll.rules.yaml")
        kinds.append(told["kind"])
if set(kinds) != {"PodMonitor", "PrometheusRule"}:
    sys.exit(f"there are {kinds or 'no objects'} where monitors and rules should be")
print(f"{len(kinds)} objects are valid by the definitions of the Prometheus operator")
