-- notify: wake the waiting queries of other processes.
notify checkpoints;
