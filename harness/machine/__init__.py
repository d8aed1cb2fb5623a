"""The machine: devices, cores, environment. Everything specific to hardware is behind this folder."""
