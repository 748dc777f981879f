"""Users' code: imported from files and modules, and run so that it leaves no trace in this process."""
