"""The packages, by discovery; the folder configs/ is installed as dimp_jax.configs.

pyproject.toml has no way to find packages below another name. The rest of the project is there.
"""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["dimp_jax", "dimp_jax.*"])
    + ["dimp_jax.weights"]  # files alone
    + [f"dimp_jax.{name}" for name in find_packages(include=["configs", "configs.*"])],
    package_dir={"dimp_jax.configs": "configs"},
)
