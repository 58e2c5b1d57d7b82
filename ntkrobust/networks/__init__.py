"""What a network is: its description, how it is drawn, the function that it computes, and its derivatives."""
