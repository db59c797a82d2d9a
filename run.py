"""Entry point: ``python run.py``, ``python run.py -m schedule=allr,clr budget.cycles=1,2,3``, ``python run.py --help``."""

import os
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from bimp_exp.cli import main as cli

ROOT = Path(__file__).resolve().parent
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # else idle threads spin on, and two runs on the same cores crawl
for file in sorted((ROOT / "sweeps").glob("*.yaml")):  # sweeps/NAME.yaml is run by +sweeps=NAME
    ConfigStore.instance().store(
        group="sweeps", name=file.stem, package="_global_", provider=str(file), node=OmegaConf.load(file)
    )


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """One run; the final test metric."""
    return cli.launch(cfg)


if __name__ == "__main__":
    cli.main(main, of_hydra=True)
