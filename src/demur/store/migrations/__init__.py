"""The steps from one version of the tables to the next, each a file that is never changed once released."""
