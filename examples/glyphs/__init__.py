"""A network, a data set and a schedule that bimp_exp does not have."""
