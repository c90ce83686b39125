"""The examples against stand-ins that refuse what the services refuse."""
