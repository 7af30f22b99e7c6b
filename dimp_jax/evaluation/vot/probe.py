"""What a Python environment has of the VOT toolkit, and its YAML files as JSON.

PYTHON -I probe.py             # {"toolkit": version or null, ...}, see `describe`
PYTHON -I probe.py FILE.yaml   # its content; all scalars are strings

It runs in the toolkit's environment, and imports neither the toolkit nor this project.
"""

import importlib.metadata
import importlib.util
import json
import os
import sys


def describe():
    """Versions, the folder of the stacks that come with the toolkit, and whether dimp_jax is there.

    "google_trax" is the version of Google's library, which has the name of the protocol's module.
    """
    spec = importlib.util.find_spec("vot")
    return {
        "toolkit": version("vot-toolkit"),
        "attributee": version("attributee"),
        "vot_trax": version("vot-trax"),
        "google_trax": version("trax"),
        "dimp_jax": importlib.util.find_spec("dimp_jax") is not None,
        "stacks": os.path.join(os.path.dirname(spec.origin), "stack") if spec else None,
    }


def version(distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def read_yaml(path):
    import yaml

    with open(path, encoding="utf-8") as stream:
        try:
            return yaml.load(stream, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            sys.exit(f"{path}: is no YAML ({' '.join(str(error).split())})")


if __name__ == "__main__":
    print(json.dumps(read_yaml(sys.argv[1]) if len(sys.argv) > 1 else describe()))
