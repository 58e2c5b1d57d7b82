"""Where cells are computed: in this process, by the workers of a dask cluster, or by jobs of a batch system."""
