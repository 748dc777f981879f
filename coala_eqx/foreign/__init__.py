"""Code of users: imported from files and modules, and run so that it leaves nothing behind."""
