"""The ways out of and into this package: files and modules of other libraries."""
