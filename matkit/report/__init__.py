"""Reports to look at: pages in one file, figures, tables."""
