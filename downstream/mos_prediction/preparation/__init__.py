"""From the archives of MOS data sets to csv files; what a data set is like stands in ``egs/<recipe>/recipe.yaml``."""
