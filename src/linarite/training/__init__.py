"""Learning: a job folder in, adapters and a log out. Knows neither HTTP nor any resource."""
