"""What networks do in whole balls, and not only where an attack has looked: bounds that hold, rounding included."""
