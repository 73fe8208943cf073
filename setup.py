"Everything about the package stands in settings.ini, which nbdev and this file both read."
from configparser import ConfigParser
from pathlib import Path
import shutil

from setuptools import setup, find_packages
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf8")
cfg = parser["DEFAULT"]



class WithNetworks(build_py):
    "The trained networks stand in results/cifar10; a wheel carries them in pact_nb/networks."
    def run(self):
        super().run()
        to = Path(self.build_lib) / "pact_nb" / "networks"
        to.mkdir(parents=True, exist_ok=True)
        for f in (here / "results" / "cifar10").iterdir():
            if f.name == "zoo.json" or f.suffix == ".safetensors": shutil.copy2(f, to)


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    keywords=cfg["keywords"],
    license="Apache-2.0",
    packages=find_packages(include=["pact_nb", "pact_nb.*"]),
    package_data={"pact_nb": ["csrc/*"]},  # C++, compiled where it is used
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require={e: cfg[f"{e}_requirements"].split() for e in ("dev", "hf", "dask")},
    entry_points={"nbdev": ["pact_nb = pact_nb._modidx:d"]},
    cmdclass={"build_py": WithNetworks},
    zip_safe=False,
)
