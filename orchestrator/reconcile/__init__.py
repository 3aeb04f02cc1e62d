"""What deliveries and the queue have missed, found and mended, pass by pass."""
