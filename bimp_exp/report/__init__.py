"""From the files of runs and sweeps to tables and plots; nothing here needs PyTorch or MLflow."""
