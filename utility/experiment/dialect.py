"""The yaml that configs are read from and settings are written in: safe, with the floats of YAML 1.2 (``1e-4`` is a number)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Hashable
from pathlib import PurePath
from typing import Any

import yaml

_FLOAT = "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+"), list("-+.0123456789")


class Loader(yaml.SafeLoader):
    """Refuses a field that is there twice; dates stay text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                key = (key_node.tag, key_node.value)
                if key in seen:
                    problem = f"the field {key_node.value!r} is there twice"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """No anchors; paths are written as text, namespaces as mappings."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(*_FLOAT)
Dumper.add_implicit_resolver(*_FLOAT)  # so that the text "1e-4" is written in quotes
Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))
Dumper.add_representer(argparse.Namespace, lambda dumper, names: dumper.represent_dict(vars(names)))
