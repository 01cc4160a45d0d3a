//! Every interleaving of a small cluster.
