"""The tables of the views: the rows of each fold, and the queries on them."""
