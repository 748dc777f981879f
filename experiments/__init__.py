"""One readable file per experiment: settings, what is measured, and the claims it is judged by."""
