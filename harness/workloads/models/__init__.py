"""The models' modules: they import torch, and are themselves imported only when a workload is built."""
