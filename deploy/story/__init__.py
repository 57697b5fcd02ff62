"""The story: the system's main job, told through its public doors on a running system. `make story`."""
