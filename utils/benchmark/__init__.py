"""How fast it is: training, inference, many machines, the service under load."""
