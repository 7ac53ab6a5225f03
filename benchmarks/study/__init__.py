"""Studies: networks x folds x seeds under one recipe, cell by cell, and the tables that compare them."""
