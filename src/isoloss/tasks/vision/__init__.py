"""Pictures to classify: fixed splits, subsets nested by labels, a pool without labels."""
