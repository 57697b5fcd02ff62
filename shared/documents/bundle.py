"""One OpenAPI document of several: all operations, each with the address of its service.

A route that every service has, such as `/health`, stands there once, with the addresses of all. A schema whose name has
another shape in an earlier service gets its service's name before its own.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

Document = dict[str, Any]
_OF_THE_DOCUMENT: Final = ("openapi", "info", "tags")


def server(service: str, url: str) -> dict[str, Any]:
    """Return a server whose address whoever reads the document can replace."""
    return {
        "url": f"{{{service}}}",
        "description": service,
        "variables": {service: {"default": url, "description": f"The address of {service}."}},
    }


def bundled(documents: Mapping[str, Document], bases: Mapping[str, str]) -> Document:
    """Return one document of those of several services, which stay as they are.

    Args:
        bases: the URL of each service.

    Raises:
        ValueError: one id names operations of two routes.
    """
    first = next(iter(documents.values()))
    result: Document = {name: first[name] for name in _OF_THE_DOCUMENT}
    result["info"] = {**first["info"], "title": "Tenure"}
    result["servers"] = [server(service, bases[service]) for service in documents]
    result["paths"], result["components"] = {}, {}
    ids = dict[str, str]()
    for service, document in documents.items():
        own = _renamed(service, document, result["components"])
        for kind, parts in own["components"].items():
            result["components"].setdefault(kind, {}).update(parts)
        for path, item in own["paths"].items():
            for method, operation in item.items():
                if ids.setdefault(operation["operationId"], path) != path:
                    raise ValueError(f"two operations have the id {operation['operationId']}: rename one")
                known = result["paths"].setdefault(path, {}).setdefault(method, {**operation, "servers": []})
                known["servers"].append(server(service, bases[service]))
    return result


def _renamed(service: str, document: Document, components: Mapping[str, Any]) -> Document:
    """Return a document whose components have no name that another shape has."""
    others = {
        f"#/components/{kind}/{name}": f"#/components/{kind}/{service.capitalize()}{name}"
        for kind, parts in document["components"].items()
        for name, part in parts.items()
        if components.get(kind, {}).get(name, part) != part
    }
    if not others:
        return document
    text = json.dumps(document)
    for old, new in others.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    renamed: Document = json.loads(text)
    for old, new in others.items():
        _, _, kind, name = old.split("/")
        parts = renamed["components"][kind]
        called = new.rpartition("/")[2]
        parts[called] = parts.pop(name) | {"title": called}  # generators of clients name their classes by titles
    return renamed
