"""How programs meet the machine: memory and cores, devices, the layout of seeds, compiled programs, random bits."""
