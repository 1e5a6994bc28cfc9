"""One file per network; the table of them is in `localblur.training.networks.table`."""
